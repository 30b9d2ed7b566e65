"""The TCP/IP engine from Python: the one binding (binding.py), and stacks and sockets as objects (stack.py)."""
