"""Where conversations come from, how far each source is read, and how reading went."""
