"""Small clients and servers that the figures start as programs of their own."""
