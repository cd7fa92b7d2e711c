"""Processes that have days made: the warm worker, the dispatcher, Celery."""
