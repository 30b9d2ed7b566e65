"""Making connections, and what programs ask and set on them."""

from __future__ import annotations

import socket as s
from select import POLLIN, POLLOUT

from ..case import end_of
from .base import F_GETFD, F_GETFL, F_SETFL, O_NONBLOCK, O_RDWR, POLLRDHUP, TCP_INFO, TCP_NODELAY, Holder
from .beginnings import Beginnings


class Connections(Beginnings):
    def connection(self) -> None:
        pick = self.random
        number = len({(end_of(h.slot) or "")[:-1] for h in self.model.holders})
        name, listener = f"k{number}", self.fresh("L")
        family, address, target_family, target = pick.choice(
            (
                (s.AF_INET, "127.0.0.1", s.AF_INET, "127.0.0.1"),
                (s.AF_INET, "0.0.0.0", s.AF_INET, "127.0.0.1"),
                (s.AF_INET6, "::1", s.AF_INET6, "::1"),
                (s.AF_INET6, "::", s.AF_INET6, "::ffff:127.0.0.1"),
                (s.AF_INET6, "::", s.AF_INET, "127.0.0.1"),
            )
        )
        self.do("s0", "socket", family=int(family), new=listener)
        if self.chance(30):
            self.do("s0", "setsockopt", fd=listener, level=1, name=int(s.SO_REUSEADDR), value=1)
        small = self.chance(4)
        if small:
            self.do("s0", "setsockopt", fd=listener, level=1, name=int(s.SO_RCVBUF), value=16_384)
        self.do("s0", "bind", fd=listener, family=int(family), address=address)
        self.do("s0", "listen", fd=listener, backlog=pick.choice((1, 16)))
        self.do("s0", "name", fd=listener, api="sock")
        kind = int(s.SOCK_STREAM) | (int(s.SOCK_NONBLOCK) if self.chance(20) else 0)
        self.do("c0", "socket", family=int(target_family), type=kind, new=f"{name}c")
        if small:
            self.do("c0", "setsockopt", fd=f"{name}c", level=1, name=int(s.SO_SNDBUF), value=16_384)
        self.model.listeners.append(Holder("s0", listener))
        if kind & s.SOCK_NONBLOCK:
            self.model.nonblocking.add(f"{name}c")
        self.meet(name, listener, int(target_family), target)
        self.model.holders += [Holder("c0", f"{name}c"), Holder("s0", f"{name}s")]
        if self.topology == "threads":
            self.model.holders += [Holder("c1", f"{name}c"), Holder("s1", f"{name}s")]
        self.begin(name)

    def meet(self, name: str, listener: str, family: int, address: str) -> None:
        pick = self.random
        accept_flags = int(s.SOCK_NONBLOCK) if self.chance(15) else 0
        api = pick.choice(("accept", "accept4", "accept4"))
        if accept_flags and api == "accept4":
            self.model.nonblocking.add(f"{name}s")
        accept_first = self.chance(15)

        def accept() -> None:
            self.do("s0", "accept", fd=listener, api=api, flags=accept_flags, new=f"{name}s")

        if accept_first:
            accept()
        if self.chance(10):
            self.do("c0", "poll", items=[[f"{name}c", POLLIN | POLLOUT]], timeout_ms=0)
        self.do("c0", "connect", fd=f"{name}c", family=family, address=address, port_of=listener)
        if f"{name}c" in self.model.nonblocking or self.chance(5):
            self.do("c0", "poll", items=[[f"{name}c", POLLOUT]], timeout_ms=20_000)
            self.do("c0", "getsockopt", fd=f"{name}c", level=1, name=int(s.SO_ERROR), bytes=4)
            if self.chance(30):
                self.do("c0", "connect", fd=f"{name}c", family=family, address=address, port_of=listener)
        if not accept_first:
            accept()
        if self.chance(60) and f"{name}c" in self.model.nonblocking:
            self.model.nonblocking.discard(f"{name}c")
            self.do("c0", "fcntl", fd=f"{name}c", command=F_SETFL, value=O_RDWR)

    def another(self) -> None:
        connections = {(end_of(h.slot) or "")[:-1] for h in self.model.holders}
        if len(connections) < 3 and not self.model.dead & {"c0", "s0"} and "k0" in connections:
            self.names += 1
            used = {(end_of(str(step.arguments.get("new", ""))) or "")[:-1] for step in self.steps}
            if f"k{len(connections)}" not in used:
                self.connection()

    def left_to_a_child(self) -> None:
        """A child holds alone what its parent had; the other end goes, and there is a new one, or the child goes."""
        holder = self.holder()
        peers = self.peers_of(holder) if holder else []
        if holder is None or not peers or holder.actor not in ("c0", "s0") or self.topology not in ("two", "family"):
            return
        child = self.fork_of(holder.actor)
        if child is None:
            return
        peer, size = peers[0], self.random.randint(1, 3000)
        for act in self.random.sample((0, 1), k=2):
            if act:
                self.close(holder)
            else:
                self.do(peer.actor, "send", fd=peer.slot, len=size)
        if self.chance(50):
            self.close(peer)
            self.another()
            self.do(child, "drain", fd=holder.slot)
        else:
            self.do(child, "drain", fd=holder.slot)
            self.close(Holder(child, holder.slot))
            self.look_at_end(peer)

    def refused(self) -> None:
        """connect to nobody, and to somebody who never accepts."""
        actors = [a for a in self.actors() if a == "c0"]
        if not actors:
            return
        name = f"x{self.names}"
        self.names += 1
        kind = int(s.SOCK_STREAM) | (int(s.SOCK_NONBLOCK) if self.chance(40) else 0)
        self.do("c0", "socket", type=kind, new=name)
        self.do("c0", "connect", fd=name, port_of="nobody")
        self.do("c0", "poll", items=[[name, POLLIN | POLLOUT | POLLRDHUP]], timeout_ms=0)
        self.do("c0", "getsockopt", fd=name, level=1, name=int(s.SO_ERROR), bytes=4)
        self.do("c0", "recv", fd=name, len=4, flags=int(s.MSG_DONTWAIT))
        self.do("c0", "send", fd=name, len=4, flags=int(s.MSG_NOSIGNAL))
        self.do("c0", "close", fd=name)

    def ask(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        way = self.random.choices(
            ("FIONREAD", "SIOCOUTQ", "name", "peer", "error", "info", "fl", "opt"), (8, 2, 1, 1, 3, 3, 1, 2)
        )[0]
        if way in ("FIONREAD", "SIOCOUTQ"):
            self.do(holder.actor, "ioctl", fd=holder.slot, api=way)
        elif way in ("name", "peer"):
            self.do(holder.actor, "name", fd=holder.slot, api="peer" if way == "peer" else "sock")
        elif way == "error":
            self.do(holder.actor, "getsockopt", fd=holder.slot, level=1, name=int(s.SO_ERROR), bytes=4)
        elif way == "info":
            self.do(holder.actor, "getsockopt", fd=holder.slot, level=6, name=TCP_INFO)
        elif way == "fl":
            self.do(holder.actor, "fcntl", fd=holder.slot, command=self.random.choice((F_GETFL, F_GETFD)))
        else:
            names = (
                s.SO_TYPE,
                s.SO_KEEPALIVE,
                s.SO_RCVLOWAT,
                s.SO_RCVTIMEO,
                s.SO_LINGER,
                s.SO_REUSEADDR,
                s.SO_ACCEPTCONN,
            )
            self.do(holder.actor, "getsockopt", fd=holder.slot, level=1, name=int(self.random.choice(names)))

    def set_option(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        pick, end = self.random, end_of(holder.slot) or ""
        way = pick.choice(
            ("nodelay", "keepalive", "lowat", "rcvtimeo", "sndtimeo", "linger", "nonblock", "bad", "oobinline")
        )
        options: dict[str, tuple[int, int, int]] = {
            "nodelay": (6, TCP_NODELAY, 1),
            "keepalive": (1, int(s.SO_KEEPALIVE), 1),
            "lowat": (1, int(s.SO_RCVLOWAT), pick.choice((0, 1, 2, 100, 5000))),
            "rcvtimeo": (1, int(s.SO_RCVTIMEO), pick.choice((12_000, 20_000_000, 0))),
            "sndtimeo": (1, int(s.SO_SNDTIMEO), pick.choice((20_000_000, 0))),
            "bad": pick.choice(((1, 9999, 1), (6, 9999, 1), (99, 1, 1))),
            "oobinline": (1, int(s.SO_OOBINLINE), 1),
        }
        if way in options:
            level, name, value = options[way]
            if way == "oobinline" and self.chance(70):
                return
            self.do(holder.actor, "setsockopt", fd=holder.slot, level=level, name=name, value=value)
            if way == "lowat":
                self.model.low_waters.add(end)
            if way == "rcvtimeo" and value == 12_000:
                self.model.timeouts.add(end)
                if not self.under_way_to(holder):
                    self.do(holder.actor, "recv", fd=holder.slot, len=10, timed=1)
        elif way == "linger":
            on, value = pick.choice(((1, 0), (0, 0), (1, 1)))
            self.do(holder.actor, "setsockopt", fd=holder.slot, level=1, name=int(s.SO_LINGER), on=on, value=value)
        else:
            on = pick.choice((0, 1))
            if self.chance(50):
                self.do(holder.actor, "ioctl", fd=holder.slot, api="FIONBIO", value=on)
            else:
                self.do(
                    holder.actor, "fcntl", fd=holder.slot, command=F_SETFL, value=O_RDWR | (O_NONBLOCK if on else 0)
                )
            (self.model.nonblocking.add if on else self.model.nonblocking.discard)(end)
            if on and not self.under_way_to(holder):
                self.do(holder.actor, "recv", fd=holder.slot, len=10)

    def bad_descriptor(self) -> None:
        actors = self.actors()
        if not actors:
            return
        actor = self.random.choice(actors)
        call = self.random.choice(("send", "recv", "shutdown", "close", "name", "getsockopt", "ioctl", "poll", "dup"))
        if call == "poll":
            self.do(actor, "poll", items=[["nobody", POLLIN]], timeout_ms=0)
        else:
            self.do(actor, call, fd="nobody", name=4, bytes=4)
