"""Tests of the files by which the system is deployed and watched."""
