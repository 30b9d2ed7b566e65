"""Starting a program under Byway: can it be accelerated, and with which settings."""
