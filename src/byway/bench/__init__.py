"""Any server and its own load, on the kernel and under Byway in turn: what `byway bench` measures."""
