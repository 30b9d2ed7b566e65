"""Tests of the command line and of the readers of shared memory."""
