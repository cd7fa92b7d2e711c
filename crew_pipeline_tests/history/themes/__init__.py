"""Tests of what the days are about."""
