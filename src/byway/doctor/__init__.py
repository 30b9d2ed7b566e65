"""What Byway can do on this machine and for these programs: each thing is tried, not guessed from a version."""
