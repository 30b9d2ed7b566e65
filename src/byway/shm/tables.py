"""The tables of csrc/shm/*.def as Python values: options, counters, reasons.

Named tuples and plain string handling, because `byway run` reads the options at every start.
"""

from collections.abc import Iterator
from typing import NamedTuple

from byway import native


class Option(NamedTuple):
    """One line of options.def."""

    name: str
    scope: str
    type: str
    default: int
    minimum: int
    maximum: int
    text: str

    @property
    def variable(self) -> str:
        """Its name in the environment."""
        return f"BYWAY_{self.name.upper()}"


class Counter(NamedTuple):
    """One line of counters.def."""

    number: int  # its place in shm_arena.counters
    name: str
    text: str


class Reason(NamedTuple):
    """One line of reasons.def; the text completes "carried by the kernel because …"."""

    code: int
    name: str
    text: str


def entries(file_name: str, macro: str) -> Iterator[tuple[list[str], str]]:
    """Of each `MACRO(a, b, …, "text")` line: the words before the text, and the text."""
    for line in native.read_text(file_name).splitlines():
        if line.startswith(f"{macro}("):
            words, _, text = line[len(macro) + 1 : line.rindex(")")].partition('"')
            yield [word.strip() for word in words.rstrip(" ,").split(",")], text.rstrip().removesuffix('"')


def options() -> dict[str, Option]:
    found: dict[str, Option] = {}
    for (name, scope, kind, *numbers), text in entries("options.def", "OPTION"):
        default, minimum, maximum = map(int, numbers)
        found[name] = Option(name, scope, kind, default, minimum, maximum, text)
    return found


def counters() -> dict[str, Counter]:
    return {name: Counter(int(number), name, text) for (number, name), text in entries("counters.def", "COUNTER")}


def reasons() -> dict[int, Reason]:
    return {int(code): Reason(int(code), name, text) for (code, name), text in entries("reasons.def", "REASON")}
