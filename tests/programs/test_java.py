"""Java: blocking sockets (poll and read, a thread for each) and channels with a selector (epoll)."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import variant
from tests.programs import harness
from tests.programs.harness import Programs, World
from tests.programs.ring import check_carrier

MISSING = harness.needs("java", "javac")
pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(90),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}"),
    pytest.mark.skipif(variant.is_sanitized(), reason="the Java machine's own handlers are in the sanitizers' way"),
]

Worlds = tuple[World, World]
SOURCE = harness.SERVERS / "JavaEcho.java"


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-d", directory, SOURCE], check=True, timeout=60)
    yield directory


@pytest.mark.parametrize("client", ("ask-blocking", "ask-channel"))
@pytest.mark.parametrize("server", ("serve-blocking", "serve-selector"))
def test_echo(group: Programs, worlds: Worlds, classes: Path, server: str, client: str) -> None:
    port = harness.free_port()
    java = ["java", "-Xshare:auto", "-cp", classes, "JavaEcho"]
    serving = group.start([*java, server, str(port)], worlds[0])
    serving.wait_listening(port)
    assert "all came back" in group.run([*java, client, str(port)], worlds[1])
    check_carrier(serving.pid, worlds, sent=20_000, received=20_000)
    assert serving.stop(signal.SIGTERM) == 143, serving.output()
