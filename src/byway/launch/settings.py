"""The options a program is started with: from a profile, from the environment, from `--option`, in rising order.

An unknown name or a bad value is an error that names the nearest option and its range, never silence.
"""

import os
from collections.abc import Mapping

from byway.errors import UserError
from byway.shm import tables

PROFILES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "profiles")
PROFILE_VARIABLE = "BYWAY_PROFILE"
PREFIX = "BYWAY_"
NOT_OPTIONS = {"PROFILE", "LIBRARY", "VARIANT", "CRASH"}  # BYWAY_… variables with another meaning


def nearest(name: str, names: list[str]) -> str:
    """A hint at what was meant."""
    import difflib

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(names))}"


def find_option(name: str, where: str, options: Mapping[str, tables.Option]) -> tables.Option:
    option = options.get(name)
    if option is None:
        raise UserError(f"no option {name} ({where}); {nearest(name, list(options))} `byway options` lists them")
    return option


def checked_value(option: tables.Option, text: str, where: str) -> int:
    """The value that `text` gives the option."""
    wanted = f"a number from {option.minimum} to {option.maximum}"
    if option.type == "bool":
        wanted = "0 or 1"
    elif option.type == "bytes":
        wanted = f"a power of two from {option.minimum} to {option.maximum}"
    is_number = text.isascii() and text.isdigit()
    value = int(text) if is_number else -1
    fits = is_number and option.minimum <= value <= option.maximum
    if not fits or (option.type == "bytes" and value & (value - 1)):
        raise UserError(f"option {option.name} ({where}) is {wanted} ({option.text}), not {text!r}")
    return value


def profile_names() -> list[str]:
    return sorted(name.removesuffix(".toml") for name in os.listdir(PROFILES) if name.endswith(".toml"))


def read_profile(name: str, options: Mapping[str, tables.Option]) -> dict[str, int]:
    """The options that a profile sets: one of ours, or a TOML file named by a path."""
    import tomllib

    path = name if "/" in name else os.path.join(PROFILES, f"{name}.toml")
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except FileNotFoundError:
        raise UserError(f"no profile {name}; {nearest(name, profile_names())}") from None
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"profile {path} cannot be read: {error}") from None
    where = f"in profile {name}"
    return {
        key: checked_value(
            find_option(key, where, options), str(int(value) if isinstance(value, bool) else value), where
        )
        for key, value in content.items()
    }


def split_assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--option wants NAME=VALUE, as in --option spin_us=20, not {text!r}")
    return name.strip().replace("-", "_").lower(), value.strip()


def check_environment(environment: Mapping[str, str], options: Mapping[str, tables.Option]) -> set[str]:
    """The options that the environment sets already; it is an error if one of them is wrong."""
    found: set[str] = set()
    for variable, text in environment.items():
        name = variable.removeprefix(PREFIX)
        if name == variable or name in NOT_OPTIONS or not text:
            continue
        where = f"{variable} in the environment"
        option = find_option(name.lower(), where, options)
        checked_value(option, text, where)
        found.add(option.name)
    return found


def variables(profile: str, assignments: list[str], environment: Mapping[str, str]) -> dict[str, str]:
    """What must be added to the environment, so that the program gets the options that were asked for."""
    options = tables.options()
    from_environment = check_environment(environment, options)
    values = read_profile(profile, options) if profile != "default" else {}
    values = {name: value for name, value in values.items() if name not in from_environment}
    for assignment in assignments:
        name, text = split_assignment(assignment)
        option = find_option(name, "--option", options)
        values[option.name] = checked_value(option, text, "--option")
    added = {options[name].variable: str(value) for name, value in values.items()}
    if profile != "default" or PROFILE_VARIABLE in environment:
        added[PROFILE_VARIABLE] = profile
    return added
