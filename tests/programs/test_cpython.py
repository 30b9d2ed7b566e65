"""CPython's own tests of everything that uses sockets, both ends under Byway and attached from the first byte.

A test of CPython that fails under Byway is run on the kernel too: what fails there as well says nothing.
The Python that runs these tests must have been installed with the package `test`.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.programs import harness
from tests.programs.harness import KERNEL, World

FAST = (
    *("test_epoll", "test_poll", "test_select", "test_socketserver", "test_httpservers"),
    *("test_asyncio.test_streams", "test_asyncio.test_sock_lowlevel", "test_asyncio.test_server", "test_httplib"),
    *("test_xmlrpc", "test_urllib2_localnet"),
)
SLOW = (
    *("test_socket", "test_selectors", "test_ssl", "test_subprocess", "test_asyncio", "test_asyncore", "test_asynchat"),
    *("test_ftplib", "test_smtplib", "test_poplib", "test_imaplib", "test_nntplib", "test_telnetlib", "test_wsgiref"),
    *("test_logging", "test_signal", "test_threadsignals", "test_fork1", "test_os", "test_posix"),
    *("test_concurrent_futures",),
)
RESOURCES = {"test_socketserver": "network"}  # it means 127.0.0.1
LEFT_OUT = ("*VSOCK*", "*Vsock*")  # they meet the machine's host
LIMIT_S = 900

pytestmark = [
    pytest.mark.programs,
    pytest.mark.timeout(2 * LIMIT_S),
    pytest.mark.skipif(
        importlib.util.find_spec("test.test_socket") is None, reason="this Python has no package `test`"
    ),
    pytest.mark.skipif(bool(harness.byway_missing()), reason=str(harness.byway_missing())),
]


def failures(module: str, world: World, directory: Path) -> set[str]:
    """The tests of `module` that did not pass, by name; the module itself where it did not end or run."""
    report = directory / f"{module}-{world.name}.xml"
    command = [sys.executable, "-m", "test", module, "--junit-xml", str(report)]
    command += ["-u", RESOURCES[module]] if module in RESOURCES else []
    command += [word for pattern in LEFT_OUT for word in ("-i", pattern)]
    try:
        done = subprocess.run(
            command, env=world.environment(), cwd=directory, capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return {f"{module} did not end"}
    if done.returncode == 0:
        return set()
    cases = ElementTree.parse(report).getroot().iter("testcase") if report.exists() else ()
    named = {
        str(case.get("name")) for case in cases if case.find("failure") is not None or case.find("error") is not None
    }
    return named or {f"{module}: status {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}"}


@pytest.mark.parametrize("module", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_passes_under_byway_what_passes_on_the_kernel(module: str, tmp_path: Path) -> None:
    failed = failures(module, harness.byway_world().with_options(attach_after=0), tmp_path)
    assert not (failed and failed - failures(module, KERNEL, tmp_path))
