"""TCP sockets as the kernel knows them: by inode from /proc/PID/net/tcp, and by cookie from sock_diag.

A cookie is never used twice, so it tells truly which socket is meant; but sock_diag answers for our own network
namespace alone, and a socket has a cookie in shared memory only once somebody asked. Hence both.
"""

import os
import socket
import struct
from dataclasses import dataclass

from byway.kernel import proc

STATES = {
    1: "ESTAB",
    2: "SYN-SENT",
    3: "SYN-RECV",
    4: "FIN-WAIT-1",
    5: "FIN-WAIT-2",
    6: "TIME-WAIT",
    7: "UNCONN",
    8: "CLOSE-WAIT",
    9: "LAST-ACK",
    10: "LISTEN",
    11: "CLOSING",
    12: "SYN-RECV",
}
NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLM_F_REQUEST_DUMP = 0x301
NLMSG_DONE = 3
NLMSG_ERROR = 2
NETLINK_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
DIAG_REQUEST = struct.Struct("=BBBBI")  # family, protocol, extensions, padding, states; then 48 bytes of socket id
DIAG_SOCKET_ID_BYTES = 48
DIAG_MESSAGE_BYTES = 72
RECEIVE_BYTES = 1 << 16


@dataclass(frozen=True)
class TcpSocket:
    """One socket of the kernel."""

    local: str
    remote: str
    state: str
    inode: int


def address_text(family: int, raw: bytes, port: int) -> str:
    """As `ss` writes it."""
    host = socket.inet_ntop(family, raw)
    return f"{f'[{host}]' if family == socket.AF_INET6 else host}:{port or '*'}"


def parse_table_address(text: str) -> str:
    """`0100007F:1F90` of /proc/net/tcp: words of 32 bits in the machine's order, then the port."""
    words, _, port = text.partition(":")
    raw = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    return address_text(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw, int(port, 16))


def table(pid: int) -> dict[int, TcpSocket]:
    """The TCP sockets of the network namespace of a process, by inode."""
    found: dict[int, TcpSocket] = {}
    for name in ("net/tcp", "net/tcp6"):
        for line in proc.read(pid, name).decode().splitlines()[1:]:
            fields = line.split()
            inode = int(fields[9])
            state = STATES.get(int(fields[3], 16), fields[3])
            found[inode] = TcpSocket(parse_table_address(fields[1]), parse_table_address(fields[2]), state, inode)
    return found


def parse_diag(message: bytes) -> tuple[int, TcpSocket]:
    """The cookie and the socket of one struct inet_diag_msg."""
    family, state = message[0], message[1]
    local_port, remote_port = struct.unpack_from(">HH", message, 4)
    length = 4 if family == socket.AF_INET else 16
    local = address_text(family, message[8 : 8 + length], local_port)
    remote = address_text(family, message[24 : 24 + length], remote_port)
    low, high = struct.unpack_from("=II", message, 44)
    (inode,) = struct.unpack_from("=I", message, 68)
    return high << 32 | low, TcpSocket(local, remote, STATES.get(state, str(state)), inode)


def diag_messages(channel: socket.socket, family: int) -> list[bytes]:
    """All answers to a request for the TCP sockets of one family."""
    body = DIAG_REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) + bytes(DIAG_SOCKET_ID_BYTES)
    head = NETLINK_HEADER.pack(NETLINK_HEADER.size + len(body), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 1, 0)
    channel.send(head + body)
    found: list[bytes] = []
    while True:
        data = channel.recv(RECEIVE_BYTES)
        at = 0
        while at + NETLINK_HEADER.size <= len(data):
            length, kind, *_ = NETLINK_HEADER.unpack_from(data, at)
            if kind in (NLMSG_DONE, NLMSG_ERROR) or length < NETLINK_HEADER.size:
                return found
            message = data[at + NETLINK_HEADER.size : at + length]
            if len(message) >= DIAG_MESSAGE_BYTES:
                found.append(message)
            at += (length + 3) & ~3


def by_cookie() -> dict[int, TcpSocket]:
    """The TCP sockets of our own network namespace, by cookie; empty where the kernel has no sock_diag."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as channel:
            channel.bind((0, 0))
            families = (socket.AF_INET, socket.AF_INET6)
            return dict(parse_diag(message) for family in families for message in diag_messages(channel, family))
    except OSError:
        return {}


class Finder:
    """Finds the kernel's socket behind a descriptor or a cookie; asks the kernel once."""

    def __init__(self) -> None:
        self.own_namespace = proc.namespace(os.getpid(), "net")
        self.cookies = by_cookie()
        self.cookie_of_inode = {found.inode: cookie for cookie, found in self.cookies.items()}
        self.tables: dict[int, dict[int, TcpSocket]] = {}

    def find(self, pid: int, descriptor: int, cookie: int) -> TcpSocket | None:
        """By cookie where that is known; else by the descriptor, unless that is another socket by now."""
        namespace = proc.namespace(pid, "net")
        if namespace == self.own_namespace and cookie in self.cookies:
            return self.cookies[cookie]
        inode = proc.socket_inode(pid, descriptor)
        if inode is None:
            return None
        if namespace == self.own_namespace and cookie and self.cookie_of_inode.get(inode, cookie) != cookie:
            return None
        if namespace not in self.tables:
            self.tables[namespace] = table(pid)
        return self.tables[namespace].get(inode)
