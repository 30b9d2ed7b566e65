"""`byway run [--profile NAME] [--option NAME=VALUE]... [--strict] -- PROGRAM ARGUMENTS`: becomes it, Byway loaded.

By exec, so that process, status and signals are the program's own. What Byway cannot enter runs on the kernel.
Imports next to nothing and parses its few arguments by hand: this is paid at every start.
"""

import os
import signal
import sys
from typing import NamedTuple, NoReturn

from byway.errors import UserError
from byway.launch import environment as launch
from byway.launch import program, settings

STATUS_OWN_ERROR = 125  # as env and timeout have it: the program was not even tried
HELP = """\
usage: byway run [--profile NAME] [--option NAME=VALUE]... [--strict] -- PROGRAM [ARGUMENTS]

  --profile NAME       a set of options: {profiles}, or the path of a TOML file
  --option NAME=VALUE  one option; `byway options` lists them. Wins over BYWAY_NAME in the environment,
                       which wins over the profile
  --strict             do not start a program that Byway cannot accelerate

Status and signals are the program's own; 125: wrong use of `byway run`, 126: cannot be run, 127: not found."""


class Request(NamedTuple):
    """What the command line asks for."""

    words: list[str]  # the program and its arguments
    profile: str
    options: list[str]
    is_strict: bool
    library: str | None


class Help(Exception):
    """The user asks for help."""


def parse(arguments: list[str], environment: dict[str, str]) -> Request:
    profile = environment.get(settings.PROFILE_VARIABLE) or "default"
    library = environment.get(launch.LIBRARY_VARIABLE) or None
    options: list[str] = []
    is_strict = False
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            break
        if word in ("-h", "--help"):
            raise Help
        if word == "--strict":
            is_strict = True
            continue
        if name not in ("--profile", "--option", "--library"):
            raise UserError(f"no argument {word}; `byway run --help` lists them", STATUS_OWN_ERROR)
        if not equals:
            if not rest:
                raise UserError(f"{name} wants a value", STATUS_OWN_ERROR)
            value = rest.pop(0)
        if name == "--profile":
            profile = value
        elif name == "--library":
            library = value
        else:
            options.append(value)
    if not rest:
        raise UserError("no program: byway run [OPTIONS] -- PROGRAM [ARGUMENTS]", STATUS_OWN_ERROR)
    return Request(rest, profile, options, is_strict, library)


def inherited_environment() -> dict[str, str]:
    """What the program would have had: without the LC_CTYPE that Python itself sets in the C locale."""
    environment = dict(os.environ)
    if environment.pop("LC_CTYPE", None) is not None:
        with open("/proc/self/environ", "rb") as file:
            entries = file.read().split(b"\0")
        given = next((entry for entry in entries if entry.startswith(b"LC_CTYPE=")), None)
        if given is not None:
            environment["LC_CTYPE"] = os.fsdecode(given.partition(b"=")[2])
    return environment


def become(path: str, words: list[str], environment: dict[str, str]) -> NoReturn:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would pass that on
        signal.signal(number, signal.SIG_DFL)
    sys.stderr.flush()
    try:
        os.execve(path, words, environment)
    except OSError as error:
        status = program.STATUS_NOT_FOUND if isinstance(error, FileNotFoundError) else program.STATUS_CANNOT_RUN
        raise UserError(f"{path} cannot be run: {error.strerror}", status) from None


def start(request: Request, environment: dict[str, str]) -> NoReturn:
    try:
        paths = launch.libraries(request.library)
        accelerated = launch.under_byway(environment, request.profile, request.options, paths)
    except UserError as error:
        raise UserError(str(error), STATUS_OWN_ERROR) from None
    path = program.find(request.words[0], environment.get("PATH", os.defpath))
    found = program.examine(path, program.library_target(paths[-1]))
    if found.obstacle is not None:
        sentence = f"{path} {found.obstacle}"
        if request.is_strict:
            raise UserError(f"{sentence}; it was not started, because of --strict", program.STATUS_CANNOT_RUN)
        print(f"byway run: {sentence}; it runs on the kernel, not accelerated", file=sys.stderr)
        become(path, request.words, environment)
    if found.needs_shell:
        become("/bin/sh", ["sh", path, *request.words[1:]], accelerated)
    become(path, request.words, accelerated)


def main(arguments: list[str]) -> int:
    environment = inherited_environment()
    try:
        request = parse(arguments, environment)
    except Help:
        print(HELP.format(profiles=", ".join(settings.profile_names())))
        return 0
    start(request, environment)
