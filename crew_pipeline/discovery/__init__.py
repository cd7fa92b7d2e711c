"""Where conversations come from: export files and SQL history tables."""
