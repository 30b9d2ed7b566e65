"""Maps a program's shared memory, read-only, by the path of its descriptor under /proc."""

import mmap
import os


def map_file(path: str) -> memoryview | None:
    """All of it; None when it is gone, or not ours to read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        size = os.fstat(descriptor).st_size
        return memoryview(mmap.mmap(descriptor, size, prot=mmap.PROT_READ)) if size else None
    except (OSError, ValueError):
        return None
    finally:
        os.close(descriptor)
