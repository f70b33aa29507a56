"""The arguments of `note-whisperer`: commands, options, and the answers to mistakes."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn, Protocol

from client import destroy, read, run, send, status, verify, wait
from client.failures import UsageError
from client.http import INSECURE, VERSION
from client.settings import Settings

PROGRAM = "note-whisperer"
DESCRIPTION = """\
Send and read messages that destroy themselves. They are sealed and opened on this computer: the
service never sees a message, a passphrase or a whole link."""
EPILOG = """\
example:
  export NOTE_WHISPERER_URL=https://notes.example.org
  printf %s "$password" | note-whisperer send

"note-whisperer COMMAND --help" describes a command. The manual has all exit codes: man note-whisperer."""


class Command(Protocol):
    """The module of a command."""

    HELP: str
    DESCRIPTION: str
    EPILOG: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, options: argparse.Namespace, settings: Settings) -> int: ...


COMMANDS: dict[str, Command] = {
    "send": send,
    "read": read,
    "status": status,
    "destroy": destroy,
    "wait": wait,
    "run": run,
    "verify": verify,
}

# Options with which people might type a secret that others on the same computer can see.
_SECRET_OPTIONS = {
    "--passphrase": "use --passphrase alone to be asked, --passphrase-file or --passphrase-fd",
    "--message": "type the message, pipe it, or use --file",
    "--token": "set NOTE_WHISPERER_TOKEN",
}


class Parser(argparse.ArgumentParser):
    """A parser whose errors repeat no value, because it may be a secret."""

    def error(self, message: str) -> NoReturn:
        about = re.fullmatch(
            r"argument (-[\w-]+)(?:/\S+)?: (takes .*|expected .*|not allowed with argument -[\w-]+)", message
        )
        missing = re.fullmatch(r"the following arguments are required: ([\w, -]+)", message)
        flag = re.fullmatch(r"argument (-[\w-]+).*: ignored explicit argument .*", message)
        if message.startswith("argument COMMAND: invalid choice"):
            detail = "There is no such command."
        elif about:
            detail = f"{about[1]} {about[2]}.".replace("expected one argument", "needs a value")
            detail = detail.replace("not allowed with argument", "cannot be used together with")
        elif missing:
            detail = f"Missing: {missing[1]}."
        elif flag:
            detail = f"{flag[1]} takes no value."
        else:
            detail = "The arguments are not right."
        raise UsageError(f"{detail} See {self.prog} --help.")


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = Parser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=EPILOG,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    commands = top.add_subparsers(title="commands", dest="name", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.HELP,
            description=command.DESCRIPTION,
            epilog=command.EPILOG,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.add_argument("--json", action="store_true", help="print results and errors as JSON, for programs")
        sub.add_argument(
            INSECURE, action="store_true", help="allow a service without https that is not on this computer"
        )
    return top


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options, with `command` for what is behind the first --. Raises UsageError, or ends with help."""
    arguments = list(arguments)
    at = arguments.index("--") if "--" in arguments else len(arguments)
    for argument in arguments[:at]:
        name, equals, _ = argument.partition("=")
        if name in _SECRET_OPTIONS and (equals or name != "--passphrase"):
            raise UsageError(
                "Secrets do not belong on the command line: other people on this computer can see them there, and the"
                f" shell keeps them in its history. Instead of {name}=…, {_SECRET_OPTIONS[name]}."
            )
    options, unknown = parser().parse_known_args(arguments[:at])
    options.command = arguments[at + 1 :]
    if unknown and options.name == "run" and not options.command:
        raise UsageError(run.NO_COMMAND)
    if unknown or options.command and options.name != "run":
        raise UsageError(
            f"There is an argument too many, or an option that does not exist. See {PROGRAM} {options.name} --help."
        )
    return options


def run_command(options: argparse.Namespace, settings: Settings) -> int:
    """Run the command that was parsed; returns its exit code. Raises Failure."""
    return COMMANDS[options.name].run(options, settings)
