"""The mirror: the kernel's routes, rules, addresses, links and neighbours, kept in memory that programs read without
system calls (csrc/mirror/mirror.h, which is parsed here; csrc/mirror/lookup.c reads).

After every change all of it is read again and written anew: a dump of a few hundred entries takes some milliseconds,
and nothing can be forgotten. Messages are pyroute2's: dictionaries, so that recorded ones do as well.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import ipaddress
import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pyroute2 import IPRoute

from byway import native
from byway.shm import layout

HEADER = "mirror_mirror.h"
GATHER_S = 0.003  # changes come in bursts: so long after the first of one all is read
FAMILIES = (socket.AF_INET, socket.AF_INET6)
MAPPED = bytes(10) + b"\xff\xff"
F_ADD_SEALS, F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE = 1033, 2, 4, 16

# include/uapi/linux: rtnetlink.h, fib_rules.h, neighbour.h, if.h, if_addr.h
RTM_F_CLONED = 0x200
RTNH_F_DEAD, RTNH_F_LINKDOWN = 1, 16
FIB_RULE_INVERT = 2
ACTION_TABLE, ACTIONS_REFUSING = 1, {6, 7, 8}
NUD_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80
IFF_UP, IFF_RUNNING = 0x1, 0x40
IFA_F_SECONDARY, IFA_F_DEPRECATED, IFA_F_TENTATIVE = 0x01, 0x20, 0x40
NO_SUPPRESSION = 0xFFFFFFFF
RULE_NOT_FOLLOWED = ("FRA_IP_PROTO", "FRA_SPORT_RANGE", "FRA_DPORT_RANGE", "FRA_UID_RANGE", "FRA_L3MDEV", "FRA_TUN_ID")
ROUTE_NOT_FOLLOWED = ("RTA_ENCAP", "RTA_VIA", "RTA_NH_ID")

Message = Mapping[str, Any]
Entry = dict[str, Any]


@functools.cache
def facts() -> layout.Layout:
    """What csrc/mirror/mirror.h says."""
    return layout.parse(native.read_text(HEADER))


def attribute(message: Message, name: str) -> Any:
    """None: it is not there."""
    return next((pair[1] for pair in message.get("attrs", ()) if pair[0] == name), None)


def sixteen(text: str | None, family: int) -> bytes:
    """An address as the engine has it; none: the first of the family's prefix."""
    if text is None:
        return MAPPED + bytes(4) if family == socket.AF_INET else bytes(16)
    address = ipaddress.ip_address(text)
    return address.packed if address.version == 6 else MAPPED + address.packed


def of_128(bits: int, family: int) -> int:
    """A prefix' length, counted as of 16 bytes."""
    return bits + 96 if family == socket.AF_INET else bits


def mac_of(text: str | None) -> list[int]:
    digits = (text or "").replace(":", "")
    return list(bytes.fromhex(digits)) if len(digits) == 12 else [0] * 6


@dataclass
class Tables:
    """All that is written, as dictionaries by the names of the header."""

    links: list[Entry] = field(default_factory=list)
    addresses: list[Entry] = field(default_factory=list)
    rules: list[Entry] = field(default_factory=list)
    hops: list[Entry] = field(default_factory=list)
    routes: list[Entry] = field(default_factory=list)
    neighbours: list[Entry] = field(default_factory=list)

    NAMES = ("links", "addresses", "rules", "hops", "routes", "neighbours")


@dataclass
class Dump:
    """What netlink says, each a list of messages."""

    links: list[Message]
    addresses: list[Message]
    rules: list[Message]
    routes: list[Message]
    neighbours: list[Message]

    @classmethod
    def read(cls, netlink: IPRoute) -> Dump:
        """Five dumps one after the other; what changes meanwhile makes another event."""
        return cls(
            list(netlink.get_links()),
            list(netlink.get_addr()),
            [rule for family in FAMILIES for rule in netlink.get_rules(family=family)],
            [route for family in FAMILIES for route in netlink.get_routes(family=family)],
            [one for family in FAMILIES for one in netlink.get_neighbours(family=family)],
        )

    def tables(self) -> Tables:
        found = Tables()
        found.links = [link_entry(message) for message in self.links]
        found.addresses = [address_entry(message) for message in self.addresses if attribute(message, "IFA_ADDRESS")]
        rules = [rule_entry(message) for message in self.rules if is_of_ours(message)]
        found.rules = sorted(rules, key=lambda rule: rule["priority"])
        for message in sorted((message for message in self.routes if counts(message)), key=order_of_route):
            found.routes.append(route_entry(message, found.hops))
        found.neighbours = [neighbour_entry(message) for message in self.neighbours if attribute(message, "NDA_DST")]
        return found


# -- links and addresses -----------------------------------------------------------------------------------------------


def link_entry(message: Message) -> Entry:
    info = attribute(message, "IFLA_LINKINFO") or {}
    kind = attribute(info, "IFLA_INFO_KIND")
    data = attribute(info, "IFLA_INFO_DATA") or {}
    kinds = facts().enums["mirror_link_kind"]
    flags = message["flags"]
    name = "LOOPBACK" if attribute(message, "IFLA_IFNAME") == "lo" else str(kind).upper()
    return {
        "index": message["index"],
        "mtu": attribute(message, "IFLA_MTU") or 0,
        "lower": (attribute(message, "IFLA_LINK") or 0) if kind == "vlan" else 0,
        "master": attribute(message, "IFLA_MASTER") or 0,
        "active": attribute(data, "IFLA_BOND_ACTIVE_SLAVE") or 0,
        "vlan": attribute(data, "IFLA_VLAN_ID") or 0,
        "kind": kinds.get(f"MIRROR_LINK_{name}", kinds["MIRROR_LINK_OTHER"]),
        "is_up": int(flags & IFF_UP != 0 and flags & IFF_RUNNING != 0),
        "mac": mac_of(attribute(message, "IFLA_ADDRESS")),
    }


def address_entry(message: Message) -> Entry:
    family = message["family"]
    flags = attribute(message, "IFA_FLAGS") or message["flags"]
    marks = {IFA_F_SECONDARY: "SECONDARY", IFA_F_DEPRECATED: "DEPRECATED", IFA_F_TENTATIVE: "TENTATIVE"}
    named = facts().enums["mirror_address_flag"]
    own = attribute(message, "IFA_LOCAL") or attribute(message, "IFA_ADDRESS")
    if family == socket.AF_INET6:  # there the bit of secondary addresses says temporary
        marks.pop(IFA_F_SECONDARY)
    return {
        "address": list(sixteen(own, family)),
        "link": message["index"],
        "prefix": of_128(message["prefixlen"], family),
        "scope": message["scope"],
        "flags": sum(named[f"MIRROR_{name}"] for bit, name in marks.items() if flags & bit),
    }


# -- rules -------------------------------------------------------------------------------------------------------------


def is_of_ours(message: Message) -> bool:
    """Not of packets that are forwarded, and not of sockets that are bound to a link: those ask the kernel."""
    return attribute(message, "FRA_IIFNAME") in (None, "lo") and attribute(message, "FRA_OIFNAME") is None


def rule_action(message: Message) -> int:
    actions = facts().enums["mirror_rule_action"]
    strange = message.get("tos") or any(attribute(message, name) is not None for name in RULE_NOT_FOLLOWED)
    if strange or message["action"] not in {ACTION_TABLE, *ACTIONS_REFUSING}:
        return actions["MIRROR_RULE_UNKNOWN"]
    return actions["MIRROR_RULE_TABLE" if message["action"] == ACTION_TABLE else "MIRROR_RULE_REFUSE"]


def rule_entry(message: Message) -> Entry:
    family = message["family"]
    mark = attribute(message, "FRA_FWMARK") or 0
    suppressed = attribute(message, "FRA_SUPPRESS_PREFIXLEN")
    table = attribute(message, "FRA_TABLE")
    return {
        "from": list(sixteen(attribute(message, "FRA_SRC"), family)),
        "to": list(sixteen(attribute(message, "FRA_DST"), family)),
        "priority": attribute(message, "FRA_PRIORITY") or 0,
        "table": message["table"] if table is None else table,
        "mark": mark,
        "mark_mask": attribute(message, "FRA_FWMASK") or (0xFFFFFFFF if mark else 0),
        "suppress_prefix": -1 if suppressed in (None, NO_SUPPRESSION) else suppressed,
        "from_prefix": of_128(message["src_len"], family),
        "to_prefix": of_128(message["dst_len"], family),
        "family": 4 if family == socket.AF_INET else 6,
        "action": rule_action(message),
        "is_not": int(bool(message["flags"] & FIB_RULE_INVERT)),
    }


# -- routes ------------------------------------------------------------------------------------------------------------


def counts(message: Message) -> bool:
    """Not what the kernel has only learnt, and not over a link that is down."""
    return not message["flags"] & (RTM_F_CLONED | RTNH_F_DEAD | RTNH_F_LINKDOWN)


def order_of_route(message: Message) -> tuple[int, int]:
    return -of_128(message["dst_len"], message["family"]), attribute(message, "RTA_PRIORITY") or 0


def hops_of(message: Message) -> list[Entry]:
    """The ways of a route; one that has several has a list."""
    family = message["family"]
    several = attribute(message, "RTA_MULTIPATH")
    if several is None:
        if attribute(message, "RTA_OIF") is None:
            return []
        return [hop_entry(message, attribute(message, "RTA_OIF"), 1, family)]
    alive = [one for one in several if not one["flags"] & (RTNH_F_DEAD | RTNH_F_LINKDOWN)]
    return [hop_entry(one, one["oif"], one["hops"] + 1, family) for one in alive]


def hop_entry(message: Message, link: int, weight: int, family: int) -> Entry:
    gateway = attribute(message, "RTA_GATEWAY")
    return {"gateway": list(sixteen(gateway, family) if gateway else bytes(16)), "link": link, "weight": weight}


def route_entry(message: Message, hops: list[Entry]) -> Entry:
    family = message["family"]
    own = hops_of(message)
    preferred = attribute(message, "RTA_PREFSRC")
    metrics = attribute(message, "RTA_METRICS") or {}
    strange = any(attribute(message, name) is not None for name in ROUTE_NOT_FOLLOWED)
    entry = {
        "destination": list(sixteen(attribute(message, "RTA_DST"), family)),
        "source": list(sixteen(preferred, family) if preferred else bytes(16)),
        "table": attribute(message, "RTA_TABLE") or message["table"],
        "metric": attribute(message, "RTA_PRIORITY") or 0,
        "first_hop": len(hops),
        "hops": len(own),
        "mtu": attribute(metrics, "RTAX_MTU") or 0,
        "prefix": of_128(message["dst_len"], family),
        "type": message["type"],
        "scope": message["scope"],
        "is_unknown": int(bool(strange or message["src_len"] or message["tos"])),
    }
    hops.extend(own)
    return entry


def neighbour_entry(message: Message) -> Entry:
    mac = attribute(message, "NDA_LLADDR")
    return {
        "address": list(sixteen(attribute(message, "NDA_DST"), message["family"])),
        "link": message["ifindex"],
        "mac": mac_of(mac),
        "is_usable": int(bool(message["state"] & NUD_USABLE and mac)),
    }


# -- the memory --------------------------------------------------------------------------------------------------------


def packed(kind: str, entry: Entry) -> bytes:
    """An entry as its struct of the header lies in memory; what it does not name is 0."""
    shape = facts().structs[kind]
    data = bytearray(shape.size_bytes)
    for name, value in entry.items():
        member = shape.members[name]
        values = value if isinstance(value, list) else [value]
        struct.pack_into(f"<{len(values)}{layout.SCALARS[member.type]}", data, member.offset, *values)
    return bytes(data)


class Mirror:
    """The table in a file without a name, of which programs get a descriptor: they can read it, and not write."""

    def __init__(self) -> None:
        self._shape = facts().structs["mirror"]
        self.fd = os.memfd_create("byway.mirror", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, self._shape.size_bytes)
        self.memory = mmap.mmap(self.fd, self._shape.size_bytes)
        fcntl.fcntl(self.fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE)
        self._sequence = 0
        self._put("magic", "Q", facts().constants["MIRROR_MAGIC"])

    def write(self, tables: Tables) -> None:
        """All of it anew. What does not fit is left out, and then nothing is believed that is not found."""
        self._put_sequence()
        sizes, is_complete = {}, True
        for name in Tables.NAMES:
            member = self._shape.members[name]
            entries: list[Entry] = getattr(tables, name)
            most = member.count or 0
            is_complete = is_complete and len(entries) <= most
            data = b"".join(packed(member.type, entry) for entry in entries[:most])
            self.memory[member.offset : member.offset + len(data)] = data
            sizes[name] = min(len(entries), most)
        at = self._shape.members["counts"].offset
        self.memory[at : at + 4 * len(sizes)] = packed("mirror_counts", sizes)
        self._put("is_complete", "I", int(is_complete))
        self._put("changed_at_ns", "Q", time.monotonic_ns())
        self._put_sequence()

    def _put(self, name: str, kind: str, value: int) -> None:
        struct.pack_into(f"<{kind}", self.memory, self._shape.members[name].offset, value)

    def _put_sequence(self) -> None:
        """One 32-bit store, which x86 orders behind those before it."""
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        at = ctypes.addressof(ctypes.c_char.from_buffer(self.memory)) + self._shape.members["sequence"].offset
        ctypes.c_uint32.from_address(at).value = self._sequence

    def close(self) -> None:
        os.close(self.fd)


class Follower:
    """Keeps a mirror true: of the network namespace in which it was made."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self._events = IPRoute()
        self._events.bind()
        self._dumps = IPRoute()
        self.refresh()

    def fileno(self) -> int:
        """Readable: something has changed, and `follow` is due."""
        return int(self._events.fileno())

    def follow(self, timeout_s: float) -> bool:
        """Waits for a change and writes what is then. False: there was none."""
        if not select.select([self.fileno()], [], [], timeout_s)[0]:
            return False
        time.sleep(GATHER_S)
        self._drain()
        self.refresh()
        return True

    def _drain(self) -> None:
        while select.select([self.fileno()], [], [], 0)[0]:
            for _ in self._events.get():
                pass

    def refresh(self) -> None:
        self.mirror.write(Dump.read(self._dumps).tables())

    def close(self) -> None:
        self._events.close()
        self._dumps.close()
