"""What keeps the system in order: its health, alerts, retention."""
