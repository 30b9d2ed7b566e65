"""The environment that puts a program under Byway: LD_PRELOAD with the library before what was there, BYWAY_… options.

Imports next to nothing: `byway run` pays for it at every start.
"""

import os
from collections.abc import Mapping

from byway import native
from byway.errors import UserError
from byway.launch import settings

LIBRARY_VARIABLE = "BYWAY_LIBRARY"  # a library in place of the installed one


def split(paths: str) -> list[str]:
    """The paths in LD_PRELOAD, which separates them by colons or spaces."""
    return [path for path in paths.replace(" ", ":").split(":") if path]


def libraries(named: str | None) -> list[str]:
    """What is to be loaded: absolute paths; a test's own list may begin with a sanitizer's run time."""
    found = [os.path.abspath(path) for path in (named or native.path(native.PRELOAD_LIBRARY)).split(":") if path]
    for path in found:
        if not os.path.exists(path):
            raise UserError(f"the library {path} is missing: {native.HOW_TO_BUILD}")
        if " " in path or ":" in path:
            raise UserError(f"LD_PRELOAD cannot name {path}: install Byway in a path without spaces or colons")
    return found


def under_byway(environment: Mapping[str, str], profile: str, options: list[str], paths: list[str]) -> dict[str, str]:
    """`environment` with Byway: `options` as `--option` has them, `paths` as `libraries` found them."""
    added = settings.variables(profile, options, environment)
    kept = [path for path in split(environment.get("LD_PRELOAD", "")) if path not in paths]
    return {**environment, **added, "LD_PRELOAD": ":".join([*paths, *kept])}


def on_kernel(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without anything of Byway, also where it is that of a program under it."""
    ours = {*split(environment.get(LIBRARY_VARIABLE, "")), native.path(native.PRELOAD_LIBRARY)}
    clean = {name: value for name, value in environment.items() if not name.startswith(settings.PREFIX)}
    kept = [path for path in split(clean.pop("LD_PRELOAD", "")) if path not in ours]
    return {**clean, "LD_PRELOAD": ":".join(kept)} if kept else clean
