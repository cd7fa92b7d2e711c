"""Tests of what days come to."""
