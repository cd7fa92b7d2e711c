"""The history's asset, and when it is brought up to date."""
