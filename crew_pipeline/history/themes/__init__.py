"""What a client's days are about: themes that keep their identity for years, and when they are spoken of."""
