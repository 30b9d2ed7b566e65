"""`byway sim`: what it prints, what it writes, and what it says to mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from byway.cli import sim
from byway.errors import UserError


def test_flows_arrive_at_the_rate_that_loss_allows(capsys: pytest.CaptureFixture[str]) -> None:
    """Mathis and others, 1997: about 1.22 segments / (round trip * root of the loss)."""
    assert sim.main(["--loss", "1%", "--rtt", "20ms", "--flows", "2", "--bytes", "5MB"]) == 0
    rows = [line.split("│") for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    expected = 1448 * 8 / 0.02 * 1.22 / 0.01**0.5 / 1e6
    for row in rows:
        assert expected / 2 < float(row[4]) < expected * 2
        assert row[5].strip() == "well"
    assert len(rows) == 2


def test_a_line_is_filled(capsys: pytest.CaptureFixture[str]) -> None:
    assert sim.main(["--rate", "20Mbit", "--bytes", "10MB", "--ipv6"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("│"))
    assert 17 < float(row.split("│")[4]) < 20


def test_a_capture_can_be_read(tmp_path: Path) -> None:
    scapy_utils = pytest.importorskip("scapy.utils")
    path = tmp_path / "out.pcapng"
    assert sim.main(["--bytes", "20kB", "--pcap", str(path)]) == 0
    with scapy_utils.PcapNgReader(str(path)) as reader:
        packets = [bytes(packet) for packet in reader]
    assert len(packets) >= 20
    assert all(packet[0] >> 4 == 4 for packet in packets)


@pytest.mark.parametrize(
    "words",
    [
        "--loss 5x",
        "--loss 200%",
        "--loss 100%",
        "--rtt 1h",
        "--rate 5MB",
        "--bytes .",
        "--flows 0",
        "--mtu 100",
        "--mtu 576 --ipv6",
        "--pcap /nowhere/x",
    ],
)
def test_mistakes_are_said(words: str) -> None:
    with pytest.raises(UserError):
        sim.main(words.split())
