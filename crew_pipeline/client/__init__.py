"""For programs that use Clean Up Crew from outside: needs nothing of the rest of the package."""
