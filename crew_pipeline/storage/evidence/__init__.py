"""What is known of texts and pairs of texts, and how a day's lines are clustered by it."""
