"""Networks in virtual time: hosts with stacks of the engine, and links between them that treat packets as a seed says.

world.py has the clock and the hosts, link.py what happens to a packet on the way, wire.py what a packet says,
watch.py what must hold of every packet, traffic.py programs that send and receive, hostile.py networks drawn from a
seed, capture.py pcapng files.
"""
