"""Finds the programs under Byway, and puts together what their memory and the kernel say of each and of its sockets."""

from collections.abc import Iterable
from dataclasses import dataclass

from byway import native
from byway.kernel import proc, tcp
from byway.launch import settings
from byway.shm import arena, pair, tables

LOOKS = 2  # a program that maps and unmaps memory while its maps are read may show too few


@dataclass(frozen=True)
class Member:
    """One process with Byway's library in it."""

    pid: int
    name: str
    command: list[str]
    profile: str
    options: dict[str, str]  # those that it was given, by name
    arena_file: proc.OpenFile | None  # None: no socket yet, or not ours to read


@dataclass(frozen=True)
class SocketReport:
    """One socket of a member."""

    pid: int
    name: str
    descriptor: int
    local: str
    remote: str
    state: str
    transport: str  # local or kernel
    send_carrier: str  # ring or kernel
    receive_carrier: str
    ring_sent_bytes: int
    ring_received_bytes: int
    moves_to_ring: int
    moves_to_kernel: int
    reason: str  # why it is not accelerated; empty when it is, or when there is nothing to say
    holders: list[int]


@dataclass(frozen=True)
class MemberReport:
    """One member with its numbers. Counters are those of its family: a process and those that it forked."""

    member: Member
    note: str
    sockets: int
    attached: int
    ring_bytes: int
    counters: dict[str, int]


def is_under_byway(pid: int) -> bool:
    """Whether the library, or a family's memory, is mapped there."""
    marks = (native.PRELOAD_LIBRARY.encode(), arena.FILE_PREFIX.encode())
    return any(mark in maps for maps in (proc.read(pid, "maps") for _ in range(LOOKS)) for mark in marks)


def read_member(pid: int) -> Member:
    environment = proc.environment(pid)
    names = {option.variable: name for name, option in tables.options().items()}
    return Member(
        pid=pid,
        name=proc.name(pid),
        command=proc.command(pid),
        profile=environment.get(settings.PROFILE_VARIABLE, "default"),
        options={names[variable]: value for variable, value in environment.items() if variable in names},
        arena_file=next(proc.open_files(pid, arena.FILE_PREFIX), None),
    )


def find(pid: int | None = None) -> list[Member]:
    """The programs under Byway that we may see, or the one asked for."""
    if pid is not None:
        proc.require(pid)
    return [
        read_member(each) for each in ([pid] if pid is not None else sorted(proc.processes())) if is_under_byway(each)
    ]


class Family:
    """An arena and those of its processes that live."""

    def __init__(self, opened: arena.Arena, members: Iterable[Member]) -> None:
        self.arena = opened
        self.members = list(members)
        by_identity = {(slot.pid, slot.pid_namespace): index for index, slot in opened.processes().items()}
        self.member_of_slot: dict[int, Member] = {}
        for member in self.members:
            identity = (proc.inner_process_id(member.pid), proc.namespace(member.pid, "pid"))
            if identity in by_identity:
                self.member_of_slot[by_identity[identity]] = member
        self.channels = {member.pid: pair.channels(member.pid) for member in self.members}

    def holders(self, socket: arena.Socket) -> list[Member]:
        """The living processes that have it open, its owner first."""
        slots = sorted(socket.holders & self.member_of_slot.keys(), key=lambda slot: (slot != socket.owner, slot))
        return [self.member_of_slot[slot] for slot in slots]

    def channel(self, socket: arena.Socket, holders: list[Member]) -> pair.Channel | None:
        found = (
            self.channels[member.pid].get(socket.cookie) for member in holders if socket.is_attached and socket.cookie
        )
        return next(filter(None, found), None)

    def ring_bytes(self, socket: arena.Socket, channel: pair.Channel | None) -> tuple[int, int]:
        """What it has sent and received by rings."""
        sent = channel.sends.published_bytes if channel else socket.last_sent_bytes
        received = channel.receives.consumed_bytes if channel else socket.last_received_bytes
        return socket.former_sent_bytes + sent, socket.former_received_bytes + received


def families(members: Iterable[Member]) -> list[Family]:
    """The arenas of these programs, each once."""
    groups: dict[tuple[int, int], list[Member]] = {}
    for member in members:
        if member.arena_file is not None:
            groups.setdefault(member.arena_file.identity, []).append(member)
    found = []
    for group in groups.values():
        paths = (member.arena_file.path for member in group if member.arena_file is not None)
        opened = next(filter(None, map(arena.open_arena, paths)), None)
        if opened is not None:
            found.append(Family(opened, group))
    return found


def why(socket: arena.Socket, reasons: dict[int, tables.Reason]) -> str:
    if socket.is_attached or socket.state == "listen":
        return ""
    known = reasons.get(socket.reason)
    return known.text if known else f"reason {socket.reason}, which this version does not know"


def report_socket(
    family: Family, socket: arena.Socket, finder: tcp.Finder, reasons: dict[int, tables.Reason]
) -> SocketReport | None:
    """None when only processes hold it that are gone."""
    holders = family.holders(socket)
    if not holders:
        return None
    channel = family.channel(socket, holders)
    kernel_socket = finder.find(holders[0].pid, socket.descriptor, socket.cookie)
    sent, received = family.ring_bytes(socket, channel)
    return SocketReport(
        pid=holders[0].pid,
        name=holders[0].name,
        descriptor=socket.descriptor,
        local=kernel_socket.local if kernel_socket else "?",
        remote=kernel_socket.remote if kernel_socket else "?",
        state=kernel_socket.state if kernel_socket else "UNCONN",
        transport="local" if socket.is_attached else "kernel",
        send_carrier=channel.sends.carrier if channel else socket.send_carrier,
        receive_carrier=channel.receives.carrier if channel else socket.receive_carrier,
        ring_sent_bytes=sent,
        ring_received_bytes=received,
        moves_to_ring=socket.moves_to_ring,
        moves_to_kernel=socket.moves_to_kernel,
        reason=why(socket, reasons),
        holders=[member.pid for member in holders],
    )


def report_sockets(members: Iterable[Member]) -> list[SocketReport]:
    """All sockets of these programs."""
    finder, reasons = tcp.Finder(), tables.reasons()
    found = [
        report_socket(family, socket, finder, reasons)
        for family in families(members)
        for socket in family.arena.sockets()
    ]
    return [report for report in found if report is not None]


def note_of(member: Member, is_readable: bool) -> str:
    """Why there are no numbers."""
    if is_readable:
        return ""
    return "no socket yet" if member.arena_file is None else "another version of Byway"


def report_members(members: list[Member]) -> list[MemberReport]:
    family_of = {member.pid: family for family in families(members) for member in family.members}
    return [report_member(member, family_of.get(member.pid)) for member in members]


def report_member(member: Member, family: Family | None) -> MemberReport:
    sockets = attached = ring_bytes = 0
    counters = family.arena.counters() if family else {}
    for socket in family.arena.sockets() if family else ():
        holders = family.holders(socket) if family else []
        if family and member in holders:
            sockets += 1
            attached += socket.is_attached
            ring_bytes += sum(family.ring_bytes(socket, family.channel(socket, holders)))
    closed = counters.get("ring_sent_bytes", 0) + counters.get("ring_received_bytes", 0)
    return MemberReport(member, note_of(member, family is not None), sockets, attached, ring_bytes + closed, counters)
