"""ARCHITECTURE.md names only what is there: functions, files and words in backticks, and the order of the folders.

Conventions of that page: `name()` is a C function, which csrc/ defines; in a table it stands in the file that its row
names. What has a slash or ends like a file is a path from the root or, as C includes it, from csrc/.
"""

import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "csrc"
PAGE = ROOT / "ARCHITECTURE.md"

BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
FUNCTION = re.compile(r"(\w+)\(\)")
WORD = re.compile(r"(?:struct |enum )?[A-Za-z_]\w*")
SUFFIXES = (".c", ".h", ".S", ".def", ".py", ".md", ".toml", ".pml")
OUTSIDE = {"/proc/PID/fd", "./dev"}  # paths of the system, and commands

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
DEFINITION = re.compile(
    r"^(?:__attribute__\(\([^\n]*?\)\)\s+)?[A-Za-z_][\w \t*]*?[\s*](\w+)\(([^;{}]*)\)\s*\{", re.MULTILINE
)
LABEL = re.compile(r"^(\w+):", re.MULTILINE)
RENAMED = re.compile(r'(\w+)\([^;{}]*\) EXPORT_NAME\("(\w+)"\)|EXPORT_AS\((\w+),')
INCLUDE = re.compile(r'^#include "(\w+)/(\S+)"', re.MULTILINE)


def page() -> str:
    return BLOCK.sub("", PAGE.read_text())


@functools.cache
def functions_of(path: Path) -> frozenset[str]:
    """The functions that a source file defines, by the names that programs or other files use."""
    text = COMMENT.sub(" ", path.read_text())
    if path.suffix == ".S":
        return frozenset(LABEL.findall(text))
    renamed = {name for match in RENAMED.finditer(text) for name in match.groups()[1:] if name}
    return frozenset({match[1] for match in DEFINITION.finditer(text)} | renamed)


def source_files() -> list[Path]:
    return sorted(path for path in SOURCES.rglob("*") if path.suffix in {".c", ".h", ".S"})


@functools.cache
def all_functions() -> frozenset[str]:
    return frozenset().union(*map(functions_of, source_files()))


@functools.cache
def all_words() -> frozenset[str]:
    """Every word of the sources, C and Python."""
    files = [path for folder in ("csrc", "src", "bench") for path in (ROOT / folder).rglob("*")]
    texts = (path.read_text() for path in files if path.suffix in {".c", ".h", ".S", ".def", ".py"})
    return frozenset(word for text in texts for word in re.findall(r"\w+", text))


def find_path(name: str) -> Path | None:
    return next((base / name for base in (ROOT, SOURCES) if (base / name).exists()), None)


def is_path(span: str) -> bool:
    return span not in OUTSIDE and " " not in span and ("/" in span or span.endswith(SUFFIXES))


def spans() -> Iterator[str]:
    yield from (match[1] for match in SPAN.finditer(page()))


def rows() -> Iterator[tuple[str, set[str], set[Path]]]:
    """Each row of a table that gives functions a column of their own: the row, those functions, and its file."""
    for line in page().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
        for left, right in itertools.pairwise(cells):
            names, files = FUNCTION.findall(left), SPAN.fullmatch(right)
            if names and SPAN.fullmatch(left) and files and is_path(files[1]):
                yield line, set(names), {path for path in [find_path(files[1])] if path}


def test_the_reader_of_sources_finds_functions() -> None:
    """The test tested: known functions of each kind are found, and calls are not taken for definitions."""
    assert {"recv", "__recv_chk", "recv_ours", "sendfile64"} <= functions_of(SOURCES / "interpose" / "data.c")
    assert {"fcntl", "change_mask", "vfork", "copy_guarded", "sock_of", "start"} <= all_functions()
    assert not {"compare_swap", "memcpy", "ppoll_unknown", "if", "while"} & all_functions()


def test_paths_exist() -> None:
    missing = sorted({span for span in spans() if is_path(span) and find_path(span) is None})
    assert not missing


def test_functions_exist() -> None:
    named = {name for span in spans() if not is_path(span) for name in FUNCTION.findall(span)}
    assert len(named) > 100, "the page names its functions as `name()`"
    assert not sorted(named - all_functions())


def test_functions_are_in_the_file_of_their_row() -> None:
    found = list(rows())
    assert len(found) > 90
    wrong = [line for line, names, files in found if not files or names - functions_of(next(iter(files)))]
    assert not wrong


def test_other_words_exist() -> None:
    words = {span for span in spans() if not is_path(span) and WORD.fullmatch(span)}
    assert not sorted(span for span in words if span.split()[-1] not in all_words())


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(SOURCES)))
def test_includes_follow_the_order_of_the_page(path: Path) -> None:
    order = re.findall(r"^\| `csrc/(\w+)/` \|", page(), re.MULTILINE)
    folders = {folder for folder, name in INCLUDE.findall(path.read_text()) if not name.endswith(".def")}
    assert set(order) == {folder.name for folder in SOURCES.iterdir() if folder.is_dir()}
    assert folders <= set(order[: order.index(path.parent.name) + 1])
