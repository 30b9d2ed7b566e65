"""Reads the pairs of a process: which carrier each direction of a channel uses now, and what went by its ring.

A pair's regions are memfds of one name. Region 0 begins with struct shm_pair; then, or at once, come the channels. How
many follows from the region's size (csrc/local/pair.c decides it); a socket's channel is found by its cookie.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from byway.kernel import proc
from byway.shm import memory
from byway.shm.layout import Layout, View, installed, rounded_up

FILE_PREFIX = "/memfd:byway.pair"
LINE_BYTES = 64
PAGE_BYTES = 4096
RING_BYTES_MIN = 4096
REGION_CHANNELS = (8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Direction:
    """One direction of a channel at one moment."""

    carrier: str  # ring or kernel
    published_bytes: int  # put into the ring since it was made
    consumed_bytes: int  # taken out of it
    changes: int
    is_revoked: bool


@dataclass(frozen=True)
class Channel:
    """The channel of one socket: what its end sends, and what it receives."""

    sends: Direction
    receives: Direction


def read_direction(view: View, layout: Layout) -> Direction:
    mask = layout.constants["SHM_OFFSET_MASK"]
    tail, changes = view.integer("tail"), view.integer("change_count")
    return Direction(
        carrier="ring" if changes & 1 else "kernel",
        published_bytes=tail & mask,
        consumed_bytes=view.integer("head") & mask,
        changes=changes,
        is_revoked=bool(tail & layout.constants["SHM_TAIL_REVOKED"]),
    )


def channel_count(region_bytes: int, head_bytes: int, channel_bytes: int) -> int:
    """How many channels a region of this size has; 0 when no number fits."""
    for count in REGION_CHANNELS:
        rings_bytes = region_bytes - rounded_up(head_bytes + count * channel_bytes, PAGE_BYTES)
        ring_bytes = rings_bytes // (2 * count)
        is_power = ring_bytes >= RING_BYTES_MIN and ring_bytes & (ring_bytes - 1) == 0
        if is_power and ring_bytes * 2 * count == rings_bytes:
            return count
    return 0


def region_channels(mapped: memoryview, layout: Layout) -> Iterator[View]:
    """The channels in use of one region of our own version."""
    head_bytes = 0
    if len(mapped) >= layout.structs["shm_pair"].size_bytes:
        head = View(mapped, layout, "shm_pair")
        if head.integer("magic") == layout.constants["SHM_MAGIC_PAIR"]:
            if head.integer("abi_hash") != layout.abi_hash:
                return
            head_bytes = rounded_up(head.struct.size_bytes, LINE_BYTES)
    channel_bytes = layout.structs["shm_channel"].size_bytes
    for number in range(channel_count(len(mapped), head_bytes, channel_bytes)):
        channel = View(mapped, layout, "shm_channel", head_bytes + number * channel_bytes)
        if channel.integer("in_use") == 1:
            yield channel


def channels(pid: int) -> dict[int, Channel]:
    """The channels that a process maps, by the cookie of the socket whose view it is."""
    layout = installed()
    found: dict[int, Channel] = {}
    regions = {file.identity: file for file in proc.open_files(pid, FILE_PREFIX)}
    for file in regions.values():
        mapped = memory.map_file(file.path)
        for view in region_channels(mapped, layout) if mapped is not None else ():
            directions = [read_direction(view.inner("direction", end), layout) for end in (0, 1)]
            for end, cookie in enumerate(view.integers("cookies")):
                found[cookie] = Channel(sends=directions[end], receives=directions[1 - end])
    return found
