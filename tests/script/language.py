"""The scripts' language: what the lines of tests/script/cases/*.txt mean. README.md there shows it.

A scenario is a heading, `== RFC 9293, 3.10.7.3: what must hold`, and lines of the form `+SECONDS WHAT`:

    +0    < S 0:0(0) win 65535 <mss 1460,sackOK>     the peer sends
    +0.2  > S. 0:0(0) ack 1 <mss 1460,...>           the stack sends, then and not at another time
    +0    write c 1000 = 1000                        a call, and what it returns

Sequence numbers count from each side's first. Of a segment that the stack sends the parts are compared that the line
has.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

from byway.sim import wire

FLAGS = {"F": wire.FIN, "S": wire.SYN, "R": wire.RST, "P": wire.PSH, ".": wire.ACK, "U": wire.URG, "E": 64, "W": 128}
_HEADING = "== "
_SEGMENT = re.compile(
    r"(?P<flags>[FSRP.UEW]+|none) (?P<begin>\d+):(?P<end>\d+)\((?P<length>\d+)\)"
    r"(?: ack (?P<ack>-?\d+))?(?: win (?P<window>\d+))?(?: urg (?P<urgent>\d+))?"
    r"(?: <(?P<options>[^>]*)>)?(?: (?P<more>\w+))?$"
)


class ScriptError(Exception):
    """A line that nobody understands."""


@dataclass(frozen=True)
class Segment:
    """One line's segment; None: not said."""

    flags: int
    begin: int
    length: int
    ack: int | None
    window: int | None
    urgent: int | None
    options: str | None
    more: str | None  # `bad`: with a wrong checksum


@dataclass(frozen=True)
class Line:
    """When, relative to the line before, and what."""

    number: int
    wait_ns: int
    words: list[str]
    text: str

    @property
    def verb(self) -> str:
        return self.words[0]


@dataclass
class Scenario:
    """One script."""

    name: str
    file: str
    lines: list[Line] = field(default_factory=list)
    settings: dict[str, int] = field(default_factory=dict)
    only: str = ""  # ipv4 or ipv6, where the rule is of one alone


def parse_segment(text: str) -> Segment:
    found = _SEGMENT.match(text)
    if not found:
        raise ScriptError(f"no segment: {text}")
    flags = 0 if found["flags"] == "none" else sum(FLAGS[letter] for letter in found["flags"])
    begin, end, length = int(found["begin"]), int(found["end"]), int(found["length"])
    if end - begin != length:
        raise ScriptError(f"{begin}:{end} is not {length} bytes")
    number = {name: None if found[name] is None else int(found[name]) for name in ("ack", "window", "urgent")}
    return Segment(
        flags, begin, length, number["ack"], number["window"], number["urgent"], found["options"], found["more"]
    )


def parse(path: Path) -> list[Scenario]:
    """The scenarios of a file."""
    scenarios: list[Scenario] = []
    for number, raw in enumerate(path.read_text().splitlines(), 1):
        text = raw.partition("#")[0].strip()
        if text.startswith(_HEADING):
            scenarios.append(Scenario(text.removeprefix(_HEADING), path.stem))
        elif text.startswith("set "):
            pairs = (word.split("=") for word in text.split()[1:])
            scenarios[-1].settings.update({name: int(value) for name, value in pairs})
        elif text.startswith("only "):
            scenarios[-1].only = text.split()[1]
        elif text:
            scenarios[-1].lines.append(parse_line(number, text))
    return scenarios


def parse_line(number: int, text: str) -> Line:
    when, _, what = text.partition(" ")
    if not when.startswith("+") or not what.strip():
        raise ScriptError(f"line {number}: {text}")
    return Line(number, round(float(when) * 1e9), what.split(), what.strip())


# -- options ---------------------------------------------------------------------------------------------------------


def build_options(text: str, stack_isn: int) -> bytes:
    """The bytes of `mss 1460,sackOK,TS 1 0,nop,wscale 7,sack 1:2 3:4,raw 1e04abcd`; padded, and timestamps alone
    before them, as most stacks have it. SACK counts from the stack's first."""
    options = [option for option in text.split(",") if option]
    built = b"\x01\x01" if [option.split()[0] for option in options] == ["TS"] else b""
    for option in options:
        name, *values = option.split()
        if name == "mss":
            built += struct.pack(">BBH", 2, 4, int(values[0]))
        elif name == "sackOK":
            built += b"\x04\x02"
        elif name == "TS":
            built += struct.pack(">BBII", 8, 10, int(values[0]) & 0xFFFFFFFF, int(values[1]) & 0xFFFFFFFF)
        elif name == "wscale":
            built += struct.pack(">BBB", 3, 3, int(values[0]))
        elif name == "sack":
            edges = [(int(edge) + stack_isn) & 0xFFFFFFFF for block in values for edge in block.split(":")]
            built += struct.pack(f">BB{len(edges)}I", 5, 2 + 4 * len(edges), *edges)
        elif name == "nop":
            built += b"\x01"
        elif name == "raw":
            built += bytes.fromhex(values[0])
        else:
            raise ScriptError(f"no option: {option}")
    return built + bytes(-len(built) % 4)


def show_options(segment: wire.Segment, peer_isn: int) -> list[str]:
    """What a segment of the stack has, in its order. Timestamps' own values are not told, only the echo."""
    shown = []
    for kind, value in wire.read_options(segment).items():
        if kind == 2:
            shown.append(f"mss {int.from_bytes(value, 'big')}")
        elif kind == 4:
            shown.append("sackOK")
        elif kind == 8:
            shown.append(f"TS * {struct.unpack_from('>I', value, 4)[0]}")
        elif kind == 3:
            shown.append(f"wscale {value[0]}")
        elif kind == 5:
            edges = [(edge - peer_isn) & 0xFFFFFFFF for edge in struct.unpack(f">{len(value) // 4}I", value)]
            shown.append("sack " + " ".join(f"{edges[i]}:{edges[i + 1]}" for i in range(0, len(edges), 2)))
    return shown
