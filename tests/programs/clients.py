"""Plain clients, run as programs of their own so that they can be started in any world.

`python clients.py KIND HOST PORT [ARGUMENTS]`; standard library only; ends with 0 when every answer was right.
"""

from __future__ import annotations

import hashlib
import http.client
import random
import select
import socket
import sys
import threading
import urllib.request
from collections.abc import Callable

TIMEOUT_S = 15.0


def pattern(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


class Line:
    """A connection read by lines and counts."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def exactly(self, count: int) -> bytes:
        data = self.file.read(count)
        assert len(data) == count, f"end after {len(data)} of {count}"
        return data

    def line(self) -> bytes:
        line = self.file.readline()
        assert line.endswith(b"\r\n"), line
        return line[:-2]


# -- redis -------------------------------------------------------------------------------------------------------------


def command(*words: bytes) -> bytes:
    parts = [b"*%d\r\n" % len(words)]
    parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in words]
    return b"".join(parts)


def reply(line: Line) -> bytes:
    head = line.line()
    if head[:1] == b"$":
        return line.exactly(int(head[1:]) + 2)[:-2]
    return head


def redis_values(host: str, port: int, count: int, size: int) -> None:
    """One command at a time."""
    line = Line(host, port)
    for number in range(count):
        key, value = b"k%d" % number, pattern(size, number)
        line.socket.sendall(command(b"SET", key, value))
        assert reply(line) == b"+OK"
        line.socket.sendall(command(b"GET", key))
        assert reply(line) == value, f"value {number} differs"


def redis_pipeline(host: str, port: int, count: int, size: int) -> None:
    """Many commands under way at once, sent by another thread than the one that reads."""
    line = Line(host, port)
    for _ in range(20):  # so that the connection is attached when the flood comes
        line.socket.sendall(command(b"PING"))
        assert reply(line) == b"+PONG"
    commands = [command(b"SET", b"p%d" % n, pattern(size, n)) + command(b"GET", b"p%d" % n) for n in range(count)]

    def send_all() -> None:
        for one in commands:
            line.socket.sendall(one)

    sender = threading.Thread(target=send_all)
    sender.start()
    for number in range(count):
        assert reply(line) == b"+OK"
        assert reply(line) == pattern(size, number), f"value {number} differs"
    sender.join()


def redis_check(host: str, port: int, count: int, size: int) -> None:
    """The values that redis_values has set are there."""
    line = Line(host, port)
    for number in range(count):
        line.socket.sendall(command(b"GET", b"k%d" % number))
        assert reply(line) == pattern(size, number), f"value {number} differs"


# -- memcached ---------------------------------------------------------------------------------------------------------


def memcached_values(host: str, port: int, count: int, size: int, start: int = 0) -> None:
    line = Line(host, port)
    for number in range(start, start + count):
        value = pattern(size, number)
        line.socket.sendall(b"set k%d 0 0 %d\r\n%s\r\n" % (number, size, value))
        assert line.line() == b"STORED"
        line.socket.sendall(b"get k%d\r\n" % number)
        assert line.line() == b"VALUE k%d 0 %d" % (number, size)
        assert line.exactly(size + 2) == value + b"\r\n", f"value {number} differs"
        assert line.line() == b"END"


def memcached_threads(host: str, port: int, threads: int, count: int) -> None:
    failures: list[BaseException] = []

    def one(index: int) -> None:
        try:
            memcached_values(host, port, count, 1 + 313 * (index % 20), index * count)
        except BaseException as failure:
            failures.append(failure)

    running = [threading.Thread(target=one, args=(index,)) for index in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert not failures, failures


# -- http --------------------------------------------------------------------------------------------------------------


def http_keepalive(host: str, port: int, rounds: int, path: str, digest: str) -> None:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    for _ in range(rounds):
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, answer.status
        assert hashlib.sha256(body).hexdigest() == digest, f"{path}: {len(body)} wrong bytes"
    connection.close()


def http_urllib(host: str, port: int, rounds: int, path: str, digest: str) -> None:
    name = f"[{host}]" if ":" in host else host
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(rounds):
        with opener.open(f"http://{name}:{port}{path}", timeout=TIMEOUT_S) as answer:
            assert hashlib.sha256(answer.read()).hexdigest() == digest, f"{path} differs"


def http_post(host: str, port: int, rounds: int, size: int) -> None:
    """Bodies that the server has to give back, on one connection where the server keeps it."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    for number in range(rounds):
        body = pattern(size, number)
        connection.request("POST", "/", body)
        answer = connection.getresponse()
        assert answer.status == 200, answer.status
        assert answer.read() == body, f"body {number} differs"
    connection.close()


# -- any ---------------------------------------------------------------------------------------------------------------


def hold(host: str, port: int, request: str) -> None:
    """Asks a few times, and keeps the connection until it is ended."""
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(20):
            connection.sendall(request.encode())
            assert connection.recv(4096)
        print("holding", flush=True)
        connection.settimeout(None)
        connection.recv(1)


def by_turns(host: str, port: int) -> None:
    """Does what its standard input says, line by line: `talk TIMES`, or `wait TIMES MILLISECONDS` in vain."""
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        for number, line in enumerate(sys.stdin):
            what, times, *rest = line.split()
            for _ in range(int(times)):
                if what == "wait":
                    assert not poll.poll(int(rest[0]))
                else:
                    connection.sendall(b"x")
                    assert connection.recv(1) == b"x"
            print(f"turn {number} done", flush=True)


KINDS: dict[str, Callable[..., None]] = {
    "redis-values": redis_values,
    "redis-pipeline": redis_pipeline,
    "redis-check": redis_check,
    "memcached-values": memcached_values,
    "memcached-threads": memcached_threads,
    "http-keepalive": http_keepalive,
    "http-urllib": http_urllib,
    "http-post": http_post,
    "hold": hold,
    "by-turns": by_turns,
}


def main(argv: list[str]) -> None:
    kind, host, port, *arguments = argv
    KINDS[kind](host, int(port), *(int(one) if one.isdigit() and len(one) < 20 else one for one in arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
