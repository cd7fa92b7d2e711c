"""What is known of all days together, made in the background from their documents."""
