"""Commands that come in groups, and what all commands share."""
