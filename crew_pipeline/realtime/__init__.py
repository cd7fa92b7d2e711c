"""The room that was here has been divided; what was called from outside by its old path still answers."""
