"""The day page."""
