"""The files that the tests' servers serve."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Files:
    """Where they are, and the SHA-256 of what is served at each path."""

    directory: Path
    digests: dict[str, str]


def make_files(directory: Path) -> Files:
    directory.mkdir()
    digests = {}
    for name, size in (("small", 1024), ("big", 1 << 20)):
        data = random.Random(size).randbytes(size)
        (directory / name).write_bytes(data)
        digests[f"/{name}"] = hashlib.sha256(data).hexdigest()
    digests["/hello"] = hashlib.sha256(b"hello").hexdigest()
    return Files(directory, digests)
