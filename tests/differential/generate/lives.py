"""How descriptors and processes come and go: close, shutdown, dup, fork, exec, kill, descriptor passing."""

from __future__ import annotations

import socket as s
from collections.abc import Callable
from select import POLLIN, POLLOUT

from ..case import end_of, other_end
from .base import F_SETFD, FD_CLOEXEC, POLLRDHUP, TCP_INFO, Holder
from .transfers import STRICT_FLIGHT, Transfers


class Lives(Transfers):
    def forget(self, holder: Holder) -> None:
        keep = self.model.holders
        sharing = {holder.actor}
        if holder.actor[1] in "01" and self.topology in ("threads", "one"):
            sharing |= {"c0", "c1", "s0", "s1"} if self.topology == "one" else {holder.actor[0] + n for n in "01"}
        self.model.holders = [h for h in keep if h.slot != holder.slot or h.actor not in sharing]

    def close(self, holder: Holder) -> None:
        self.do(holder.actor, self.random.choices(("close", "close_range"), (9, 1))[0], fd=holder.slot)
        self.forget(holder)

    def close_one(self) -> None:
        holder = self.holder()
        if holder is not None:
            self.close(holder)
            for peer in self.peers_of(holder)[:1]:
                self.look_at_end(peer)

    def look_at_end(self, peer: Holder) -> None:
        """What an end sees after something happened to the other."""
        looks: list[Callable[[], None]] = [
            lambda: self.do(peer.actor, "poll", items=[[peer.slot, POLLIN | POLLOUT | POLLRDHUP]], timeout_ms=0),
            lambda: self.do(peer.actor, "recv", fd=peer.slot, len=self.receive_size(100), flags=int(s.MSG_DONTWAIT)),
            lambda: self.do(peer.actor, "getsockopt", fd=peer.slot, level=1, name=int(s.SO_ERROR), bytes=4),
            lambda: self.do(peer.actor, "send", fd=peer.slot, len=10, flags=int(s.MSG_NOSIGNAL)),
            lambda: self.do(peer.actor, "send", fd=peer.slot, len=10),
            lambda: self.do(peer.actor, "ioctl", fd=peer.slot, api="FIONREAD"),
            lambda: self.do(peer.actor, "getsockopt", fd=peer.slot, level=6, name=TCP_INFO),
            lambda: self.do(peer.actor, "drain", fd=peer.slot),
        ]
        for look in self.random.choices(looks, k=self.random.randint(1, 5)):
            look()

    def shutdown(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        how = self.random.choices((int(s.SHUT_WR), int(s.SHUT_RD), int(s.SHUT_RDWR), 3), (6, 2, 3, 0.3))[0]
        self.do(holder.actor, "shutdown", fd=holder.slot, how=how)
        if how in (s.SHUT_WR, s.SHUT_RDWR):
            self.model.finished.add(end_of(holder.slot) or "")
        peers = self.peers_of(holder)
        if peers and self.chance(70):
            self.look_at_end(self.random.choice(peers))

    def duplicate(self) -> None:
        holder = self.holder()
        if holder is None or holder.actor in ("c1", "s1"):
            return
        end = end_of(holder.slot) or ""
        name = f"{end}.{self.names}"
        self.names += 1
        api = self.random.choice(("dup", "dup2", "dup3", "fcntl"))
        self.do(holder.actor, "dup", fd=holder.slot, api=api, target=60 + self.names, new=name)
        self.model.holders.append(Holder(holder.actor, name))

    def fork_of(self, parent: str) -> str | None:
        names = [f"{parent[0]}2"] if self.topology == "family" else [f"{parent[0]}2", f"{parent[0]}3"]
        free = [name for name in names if name not in self.model.children]
        if not free:
            return None
        child = free[0]
        self.model.children[child] = parent
        self.do(parent, "fork", new=child)
        inherited = [Holder(child, slot) for slot in sorted({h.slot for h in self.model.holders if h.actor == parent})]
        self.model.holders += inherited
        return child

    def fork(self) -> None:
        parents = [a for a in self.actors() if a in ("c0", "s0")]
        if not parents or (self.topology == "threads" and self.chance(50)):
            return
        parent = self.random.choice(parents)
        child = self.fork_of(parent)
        if child is None:
            return
        if self.chance(25):
            self.execute(child)
        if self.chance(35):
            for holder in [h for h in self.model.holders if h.actor == parent][:2]:
                self.close(holder)  # as a server that hands its connection to a child

    def execute(self, actor: str) -> None:
        """The program becomes another one, which may not be under Byway."""
        self.do(actor, "exec", env=self.random.choice(("keep", "drop")))

    def becomes_another(self) -> None:
        """A program that holds its connections alone becomes another one; now and then exec closes some of them."""
        actors = [a for a in self.actors() if a in ("c0", "s0")]
        if self.topology != "two" or not actors:
            return
        actor = self.random.choice(actors)
        mine = [h for h in self.model.holders if h.actor == actor]
        closes = [h for h in mine if self.chance(15)]
        env = self.random.choices(("keep", "drop"), (3, 1))[0]
        by_kernel = env == "drop" or any(e.actor == actor for e in self.model.epolls)
        if by_kernel and not all(self.fits_the_kernel(h) for h in mine):
            return
        peers = self.peers_of(mine[0])
        if env == "drop" and peers:  # unread: the program that comes knows nothing of rings
            self.do(peers[0].actor, "send", fd=peers[0].slot, len=10)
            self.model.flight[end_of(peers[0].slot) or ""] = self.under_way_to(mine[0]) + 10
        for holder in closes:
            self.do(actor, "fcntl", fd=holder.slot, command=F_SETFD, value=FD_CLOEXEC)
        self.do(actor, "exec", env=env)
        for holder in closes:
            self.forget(holder)
            for peer in self.peers_of(holder)[:1]:
                self.look_at_end(peer)

    def fits_the_kernel(self, holder: Holder) -> bool:
        """Else a relay goes on with the connection, and a relay shows ends later (local-transport.md, 9); and nobody
        would know what of its own bytes the other end has left in the ring when that dies."""
        end = end_of(holder.slot) or ""
        finished = other_end(end) in self.model.finished
        unread = self.model.flight.get(end, 0)
        return bool(self.peers_of(holder)) and not (finished or unread) and self.under_way_to(holder) < STRICT_FLIGHT

    def child_leaves(self) -> None:
        living = [child for child in self.model.children if child not in self.model.dead]
        if not living:
            return
        child = self.random.choice(living)
        if self.chance(30):
            self.kill(child)
        else:
            self.do(child, "exit", code=self.random.choice((0, 3)))
            self.died(child)
        if self.model.children[child] not in self.model.dead:
            self.do(self.model.children[child], "wait", child=child)

    def died(self, actor: str) -> None:
        gone = {actor}
        if actor[1] in "01":
            gone |= {"c0", "c1", "s0", "s1"} if self.topology == "one" else {actor[0] + "0", actor[0] + "1"}
        self.model.dead |= gone
        self.model.holders = [h for h in self.model.holders if h.actor not in gone]

    def kill(self, actor: str) -> None:
        self.do(actor, "kill")
        self.died(actor)

    def kill_one(self) -> None:
        actors = self.actors()
        if len(actors) < 2:
            return
        actor = self.random.choice(actors)
        self.kill(actor)
        for holder in self.random.sample(self.model.holders, k=min(2, len(self.model.holders))):
            self.look_at_end(holder)

    def pass_descriptor(self) -> None:
        """Over a UNIX socket to itself, or to a child forked meanwhile."""
        holder = self.holder()
        if holder is None or holder.actor in ("c1", "s1"):
            return
        links = [link for link in self.model.links if link.actor == holder.actor]
        if not links:
            name = self.fresh("u")
            self.do(holder.actor, "socketpair", new=f"{name}.a,{name}.b")
            links = [Holder(holder.actor, name)]
            self.model.links += links
        link = links[0].slot
        end = end_of(holder.slot) or ""
        new = f"{end}.{self.names}"
        self.names += 1
        receivers = [
            c for c, parent in self.model.children.items() if parent == holder.actor and c not in self.model.dead
        ]
        receiver = self.random.choice([holder.actor, *receivers])
        self.do(holder.actor, "send_fd", fd=f"{link}.a", passed=holder.slot)
        self.do(receiver, "recv_fd", fd=f"{link}.b", new=new)
        self.model.holders.append(Holder(receiver, new))
