"""What is kept of a client's days together."""
