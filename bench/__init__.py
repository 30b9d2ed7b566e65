"""Published figures: kernel and Byway side by side, in the same run. See `python -m bench --help`."""
