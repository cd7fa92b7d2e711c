"""Clients' days: what they hold, their states, claims, documents and events."""
