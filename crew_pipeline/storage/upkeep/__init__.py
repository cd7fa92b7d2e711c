"""Alerts, health, workers, and the removal of what is old."""
