"""Tests of what programs from outside use."""
