"""Where the native build put its results: the library that programs load, and the tables that it was compiled from."""

import os

from byway.errors import UserError

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_native")
PRELOAD_LIBRARY = "libbyway_preload.so"
ENGINE_LIBRARY = "libbyway.so"
HOW_TO_BUILD = "in a clone run `./dev build`, else install byway again"


def path(name: str) -> str:
    return os.path.join(FOLDER, name)


def read_text(name: str) -> str:
    """A table or header beside the library."""
    try:
        with open(path(name), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        raise UserError(f"{path(name)} is missing: {HOW_TO_BUILD}") from None
