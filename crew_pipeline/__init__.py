"""Clean Up Crew: finds conversations, folds away what repeats, hands out each day with every fold explained."""

__version__ = "0.4.0"
