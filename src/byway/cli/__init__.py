"""The command `byway`: finds the verb and imports only that one, since `byway run` must cost next to nothing.

A verb is a module here with `main(arguments) -> status`; it raises UserError for what the user can put right.
"""

import importlib
import os
import sys

from byway.errors import UserError

VERBS = {
    "run": "start a program under Byway",
    "ps": "list the programs under Byway",
    "ss": "list their sockets: addresses, transport, carriers, bytes, and why one is not accelerated",
    "options": "list the options",
    "bench": "a server and its own load, on the kernel and under Byway: a table and a picture",
    "sim": "Byway's own TCP over a simulated path, in virtual time: goodput, capture, plot",
    "doctor": "what works on this machine and for your programs, what does not, why, and what to do",
}
STATUS_USAGE = 2


def help_text() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:<{width}}  {text}" for name, text in VERBS.items()]
    return "usage: byway VERB [ARGUMENTS]\n\n" + "\n".join(lines) + "\n\n`byway VERB --help` tells more of each."


def unknown_verb(word: str) -> int:
    import difflib

    near = difflib.get_close_matches(word, VERBS, n=1, cutoff=0.4)
    hint = f"; did you mean `byway {near[0]}`?" if near else ""
    print(f"byway: no verb `{word}`{hint}\n\n{help_text()}", file=sys.stderr)
    return STATUS_USAGE


def output_closed() -> int:
    """Who reads our output has gone (`byway ss | head`): nothing more to say, and nothing more to flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if words else STATUS_USAGE
    if words[0] in ("-V", "--version", "version"):
        from byway import __version__

        print(f"byway {__version__}")
        return 0
    if words[0] not in VERBS:
        return unknown_verb(words[0])
    verb = importlib.import_module(f"byway.cli.{words[0]}")
    try:
        status: int = verb.main(words[1:])
        sys.stdout.flush()
    except UserError as error:
        print(f"byway {words[0]}: {error}", file=sys.stderr)
        return error.status
    except BrokenPipeError:
        return output_closed()
    except KeyboardInterrupt:
        return 130
    return status
