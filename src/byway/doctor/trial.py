"""The proof: two small programs talk over 127.0.0.1, on the kernel and under Byway, and what they took is compared.

`python -m byway.doctor.trial serve` prints its port and echoes one connection; `… ask PORT` prints the median round
trip in µs. Both end by themselves.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from byway.doctor.finding import BAD, GOOD, LESS, Finding
from byway.errors import UserError
from byway.launch import environment, settings
from byway.shm import members

MESSAGE = b"x" * 64
ROUND_TRIPS = 3000
TIMEOUT_S = 20.0
SUBJECT = "local TCP"


class TrialError(Exception):
    """The two programs did not get to their end; the message says what they said."""


@dataclass(frozen=True)
class Outcome:
    """Of one connection."""

    round_trip_us: float
    ring_bytes: int


def examine() -> Finding:
    """With what the user's own environment says of Byway, as `byway run` would start them."""
    try:
        kernel = run(environment.on_kernel(os.environ))
    except (TrialError, OSError) as error:
        return Finding(SUBJECT, BAD, f"two programs on the kernel could not talk: {error}")
    try:
        paths = environment.libraries(os.environ.get(environment.LIBRARY_VARIABLE))
        profile = os.environ.get(settings.PROFILE_VARIABLE) or "default"
        byway = run(environment.under_byway(os.environ, profile, [], paths))
    except (TrialError, UserError, OSError) as error:
        return Finding(SUBJECT, BAD, f"two programs under Byway could not talk: {error}", "please report this")
    return judge(kernel, byway)


def judge(kernel: Outcome, byway: Outcome) -> Finding:
    took = f"a round trip of {len(MESSAGE)} bytes took {kernel.round_trip_us:.1f} µs on the kernel"
    took += f", {byway.round_trip_us:.1f} µs under Byway"
    if not byway.ring_bytes:
        text = f"no byte of two programs under Byway went by the ring ({took})"
        return Finding(SUBJECT, BAD, text, "see below for the cause; BYWAY_LOG=1 makes a program say why")
    if byway.round_trip_us > kernel.round_trip_us:
        return Finding(
            SUBJECT, LESS, f"it goes by the ring, and gains nothing: {took}", "try again when less runs here"
        )
    return Finding(SUBJECT, GOOD, f"two Python programs: {took}")


def run(variables: Mapping[str, str]) -> Outcome:
    """One server and one client with this environment."""
    module = [sys.executable, "-m", "byway.doctor.trial"]
    with start([*module, "serve"], variables) as server:
        try:
            port = first_line(server)
            with start([*module, "ask", port], variables) as client:
                round_trip = float(first_line(client))
                found = members.report_members(members.find(server.pid))
                client.communicate(timeout=TIMEOUT_S)
            server.communicate(timeout=TIMEOUT_S)
        except (ValueError, subprocess.TimeoutExpired) as error:
            raise TrialError(str(error)) from None
        finally:
            server.kill()
    return Outcome(round_trip, sum(report.ring_bytes for report in found))


def start(command: list[str], variables: Mapping[str, str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=dict(variables), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def first_line(process: subprocess.Popen[str]) -> str:
    """Both programs bound their own waits, so this ends."""
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline().strip()
    if not line:
        process.kill()
        said = process.stderr.read().strip().splitlines() or ["nothing was said"]
        raise TrialError(said[-1])
    return line


# -- the two programs --------------------------------------------------------------------------------------------------


def serve() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(TIMEOUT_S)
        print(server.getsockname()[1], flush=True)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(TIMEOUT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := connection.recv(len(MESSAGE)):
                connection.sendall(data)


def ask(port: int) -> None:
    """Stays until its standard input ends, so that the server can be looked at while both live."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        times = [round_trip(connection) for _ in range(ROUND_TRIPS)]
        print(median(times) * 1e6, flush=True)
        sys.stdin.read()


def round_trip(connection: socket.socket) -> float:
    begin = time.perf_counter()
    connection.sendall(MESSAGE)
    missing = len(MESSAGE)
    while missing:
        data = connection.recv(missing)
        if not data:
            raise SystemExit("the other end closed the connection")
        missing -= len(data)
    return time.perf_counter() - begin


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else ask(int(sys.argv[2]))
