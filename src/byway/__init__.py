"""Byway: unmodified Linux programs talk over local TCP through shared memory instead of the kernel."""

__version__ = "0.1.0"
