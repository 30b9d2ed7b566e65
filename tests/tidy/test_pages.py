"""Pages and sources as somebody would read them: no half of a merge, and every link between pages leads somewhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("csrc", "src", "tests", "bench", "models", "docs")
SUFFIXES = {".c", ".h", ".S", ".def", ".py", ".md", ".toml", ".pml", ".patch"}
MARKER = re.compile(r"^(<{7} |={7}$|>{7} )", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(#[^)]*)?\)")


def texts() -> list[Path]:
    inner = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES]
    return sorted([*inner, *(path for path in ROOT.iterdir() if path.suffix in SUFFIXES)])


def test_no_merge_is_left_half_way() -> None:
    assert [str(path) for path in texts() if MARKER.search(path.read_text())] == []


@pytest.mark.parametrize(
    "page", [path for path in texts() if path.suffix == ".md"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_links_lead_somewhere(page: Path) -> None:
    assert [link for link, _ in LINK.findall(page.read_text()) if not (page.parent / link).exists()] == []
