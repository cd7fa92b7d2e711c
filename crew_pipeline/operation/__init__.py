"""What keeps the system itself in order: alarms, its health, housekeeping."""
