"""Seeded faults: patches over csrc/, each of which breaks one rule of docs/local-transport.md; all must be found."""
