"""iperf3 and sockperf: programs that send as fast as they can, and that check what they receive."""

from __future__ import annotations

import json
import re
import signal

import pytest

from tests.programs import harness
from tests.programs.harness import Programs, World
from tests.programs.ring import check_carrier

pytestmark = [pytest.mark.programs, pytest.mark.alone, pytest.mark.timeout(60)]

Worlds = tuple[World, World]


UNDER_WAY_MAX = 32_000_000  # bytes in sockets, which are not received any more when it stops


def bytes_of(end: dict[str, dict[str, int]], direction: str) -> tuple[int, int]:
    """Sent and received in a direction; 0 where there was none."""
    sent, received = (end.get(f"sum_{what}{direction}", {}).get("bytes", 0) for what in ("sent", "received"))
    return sent, received


@pytest.mark.skipif(bool(harness.needs("iperf3")), reason="not installed: iperf3")
@pytest.mark.parametrize("options", ((), ("--reverse",), ("--parallel", "3"), ("--bidir",), ("--zerocopy",)), ids=str)
def test_iperf3(group: Programs, worlds: Worlds, options: tuple[str, ...]) -> None:
    """What the one end has sent the other has received. With --zerocopy (sendfile) too."""
    port = harness.free_port()
    server = group.start(["iperf3", "--server", "--bind", "127.0.0.1", "--port", str(port)], worlds[0])
    server.wait_listening(port)
    argv = ["iperf3", "--client", "127.0.0.1", "--port", str(port), "--bytes", "300M", "--json", *options]
    answer = json.loads(group.run(argv, worlds[1]))
    assert "error" not in answer, answer["error"]
    directions = [bytes_of(answer["end"], direction) for direction in ("", "_bidir_reverse")]
    assert max(sent for sent, _ in directions) >= 290_000_000  # it stops when one direction has sent them
    assert all(0 <= sent - received <= UNDER_WAY_MAX for sent, received in directions), directions
    by_ring = {"sent": 1 << 16, "received": 0} if "--reverse" in options else {"sent": 0, "received": 1 << 16}
    check_carrier(server.pid, worlds, **by_ring)
    server.stop(signal.SIGINT)


@pytest.mark.skipif(bool(harness.needs("sockperf")), reason="not installed: sockperf")
@pytest.mark.parametrize("kind", ("ping-pong", "under-load", "throughput"))
def test_sockperf(group: Programs, worlds: Worlds, kind: str) -> None:
    """It numbers its messages, and says what it dropped, doubled or got out of order."""
    port = harness.free_port()
    address = ["--tcp", "-i", "127.0.0.1", "-p", str(port)]
    server = group.start(["sockperf", "server", *address], worlds[0])
    server.wait_listening(port)
    limits = {"under-load": "20000", "ping-pong": "500000"}  # without one a ping-pong is too fast for its own table
    options = ["--mps", limits[kind]] if kind in limits else []
    output = group.run(["sockperf", kind, *address, "--time", "1", *options], worlds[1])
    assert "Test ended" in output, output
    counts = re.search(
        r"# dropped messages = (\d+); # duplicated messages = (\d+); # out-of-order messages = (\d+)", output
    )
    if kind != "throughput":
        assert counts is not None and counts.groups() == ("0", "0", "0"), output
    check_carrier(server.pid, worlds, sent=0, received=1 << 16)
    server.stop(signal.SIGINT)
