"""What the kernel tells of processes and sockets, as plain typed values."""
