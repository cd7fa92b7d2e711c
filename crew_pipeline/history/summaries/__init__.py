"""What days, conversations and themes come to: sentences as they were said, with the lines that they stand in."""
