"""The engine and a TCP of other people's making, lwIP, on one simulated link.

native/lwip_peer.c is lwIP behind calls for ctypes, peer.py makes a simulated host of it, test_lwip.py has them talk.
"""
