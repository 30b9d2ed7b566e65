"""Readiness: poll, select and epoll, with files and pipes among the sockets."""

from __future__ import annotations

from select import (
    EPOLLERR,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLHUP,
    EPOLLIN,
    EPOLLONESHOT,
    EPOLLOUT,
    EPOLLPRI,
    EPOLLRDHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
)

from ..case import Value
from .base import EPOLL_WAITS, O_NONBLOCK, POLLRDHUP, POLLS, SHORT_MS, Base, Holder

EPOLL_ADD, EPOLL_DEL, EPOLL_MOD = 1, 2, 3


class Waits(Base):
    def slots_of(self, actor: str) -> list[str]:
        slots = [h.slot for h in self.model.holders if h.actor == actor]
        return slots + [f.slot for f in self.model.files if f.actor == actor]

    def poll(self) -> None:
        actors = self.actors()
        if not actors:
            return
        actor = self.random.choice(actors)
        slots = self.random.sample(self.slots_of(actor), k=min(3, len(self.slots_of(actor))))
        timeout = self.random.choices((0, self.random.choice(SHORT_MS)), (85, 15))[0]
        timed = {"timed": 1} if timeout else {}
        if self.chance(70):
            masks = (POLLIN, POLLIN | POLLOUT, POLLIN | POLLRDHUP, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0, POLLRDHUP)
            items: Value = [[slot, self.random.choice(masks)] for slot in slots]
            api = self.random.choice(POLLS)
            self.do(actor, "poll", items=items, timeout_ms=timeout, api=api, **timed)
        else:
            items = [[slot, self.random.choice((1, 3, 7, 2))] for slot in slots]
            api = self.random.choice(("select", "pselect"))
            self.do(actor, "select", items=items, timeout_ms=timeout, api=api, **timed)

    def epoll_of(self, actor: str) -> str:
        mine = [e.slot for e in self.model.epolls if e.actor == actor]
        if mine and self.chance(80):
            return self.random.choice(mine)
        name = self.fresh("e")
        self.do(actor, "epoll_create", new=name)
        self.model.epolls.append(Holder(actor, name))
        return name

    def data_of(self, slot: str) -> int:
        return sum(ord(letter) * (place + 1) for place, letter in enumerate(slot))

    def watch(self, epoll: str, holder: Holder, events: int) -> None:
        operation = self.random.choices((EPOLL_ADD, EPOLL_MOD), (75, 25))[0]
        data = self.data_of(holder.slot)
        self.do(holder.actor, "epoll_ctl", epfd=epoll, fd=holder.slot, op=operation, events=events, data=data)
        if operation == EPOLL_MOD:  # was it there? then one of the two fails, as it must
            self.do(holder.actor, "epoll_ctl", epfd=epoll, fd=holder.slot, op=EPOLL_ADD, events=events, data=data)

    def epoll_change(self) -> None:
        holder = self.holder()
        if holder is None:
            return
        epoll = self.epoll_of(holder.actor)
        masks = (EPOLLIN, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLRDHUP, EPOLLOUT, EPOLLIN | EPOLLPRI, EPOLLERR | EPOLLHUP)
        events = self.random.choice(masks) | self.random.choice((0, 0, EPOLLET, EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE))
        if self.chance(15):
            self.do(holder.actor, "epoll_ctl", epfd=epoll, fd=holder.slot, op=EPOLL_DEL)
        else:
            self.watch(epoll, holder, events)
        self.do(holder.actor, "epoll_wait", epfd=epoll, timeout_ms=0, api=self.random.choice(EPOLL_WAITS))

    def epoll_look(self) -> None:
        live = [e for e in self.model.epolls if e.actor not in self.model.dead]
        if not live:
            return self.epoll_change()
        epoll = self.random.choice(live)
        for _ in range(self.random.choice((1, 1, 2))):
            self.do(epoll.actor, "epoll_wait", epfd=epoll.slot, timeout_ms=0, api=self.random.choice(EPOLL_WAITS))
        if self.chance(15):
            self.do(epoll.actor, "poll", items=[[epoll.slot, POLLIN]], timeout_ms=0)
        return None

    def file(self) -> None:
        """A pipe, an eventfd or a timer among the watched; or a set inside a set."""
        actors = self.actors()
        if not actors:
            return
        actor, epoll = self.random.choice(actors), ""
        kind = self.random.choice(("pipe", "eventfd", "timerfd", "nested"))
        epoll = self.epoll_of(actor)
        name = self.fresh("f")
        if kind == "pipe":
            self.do(actor, "pipe", new=f"{name},{name}w", flags=O_NONBLOCK)
            self.do(actor, "write_file", fd=f"{name}w")
        elif kind == "eventfd":
            self.do(actor, "eventfd", new=name, value=self.random.choice((0, 1)))
        elif kind == "timerfd":
            self.do(actor, "timerfd", new=name, after_us=20_000_000)
        else:
            name = self.fresh("e")
            self.do(actor, "epoll_create", new=name)
            self.do(actor, "epoll_ctl", epfd=name, fd=epoll, op=EPOLL_ADD, events=EPOLLIN, data=self.data_of(epoll))
            self.model.epolls.append(Holder(actor, name))
            self.do(actor, "epoll_wait", epfd=name, timeout_ms=0)
            return
        self.model.files.append(Holder(actor, name))
        self.do(actor, "epoll_ctl", epfd=epoll, fd=name, op=EPOLL_ADD, events=EPOLLIN, data=self.data_of(name))
        self.do(actor, "epoll_wait", epfd=epoll, timeout_ms=0)
