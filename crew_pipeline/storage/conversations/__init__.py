"""Conversations and their lines, as they came in."""
