"""`run`: open notes straight into one process, through its environment or file descriptors."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sys
from typing import NamedTuple, NoReturn

from client import opening, passphrases, terminal
from client.failures import Exit, Failure, UsageError, interrupted
from client.http import Connection
from client.links import Link
from client.links import link as link_in
from client.opening import Opened
from client.service import Service, Status
from client.settings import Settings

HELP = "open messages straight into a command"
DESCRIPTION = """\
Open messages and start a command that gets them in its environment, or in files that exist in memory
only. They are printed nowhere. The command takes the place of this one, so its exit code is that of the
command. All messages are looked at before the first one is opened: if one of them is gone, none is."""
EPILOG = """\
example:
  note-whisperer run --secret DB_PASSWORD=@link.txt -- ./deploy --to production

A process's own user can read its environment, and the processes that it starts inherit it.
With --secret-fd, NAME is the path of a file (/dev/fd/N) that the command can read as often as it likes."""
USAGE = "note-whisperer run --secret NAME=LINK … [--secret-fd NAME=LINK …] [options] -- COMMAND …"
NO_COMMAND = f"Which command? Put it behind two hyphens: {USAGE}"

LONGEST_VARIABLE = 131072 - 1024  # bytes: Linux takes 128 KiB for each, with its name


class Secret(NamedTuple):
    """A message, and where the command finds it."""

    name: str
    link: Link
    in_file: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = USAGE
    parser.add_argument(
        "--secret", metavar="NAME=LINK", action="append", default=[], help="open LINK into the variable NAME"
    )
    parser.add_argument(
        "--secret-fd",
        metavar="NAME=LINK",
        action="append",
        default=[],
        help="open LINK into a file in memory, and its path into the variable NAME (Linux)",
    )
    passphrases.add_arguments(parser)


def run(options: argparse.Namespace, settings: Settings) -> NoReturn:
    """Start the command in place of this one. Raises Failure."""
    if not options.command:
        raise UsageError(NO_COMMAND)
    secrets = _secrets(options)
    if shutil.which(options.command[0]) is None:
        raise Failure(
            Exit.NOT_FOUND, f"There is no program {options.command[0]}. Nothing was opened.", opened=[]
        )
    passphrase = passphrases.given(options)
    services = [Service(Connection(secret.link.origin, options.insecure_http)) for secret in secrets]
    opened = _open(secrets, services, passphrase)
    variables: dict[str, str] = dict(options.environment)
    try:
        for secret, note in zip(secrets, opened, strict=True):
            variables[secret.name] = (
                _file(note.message) if secret.in_file else _variable(secret.name, note.message)
            )
        for service, note in zip(services, opened, strict=True):
            opening.acknowledge(service, note)
    except Failure as failure:
        raise _with_opened(failure, [secret.name for secret in secrets]) from None
    except KeyboardInterrupt:
        raise _with_opened(interrupted(), [secret.name for secret in secrets]) from None
    _replace(options.command, variables, [secret.name for secret in secrets])


def _secrets(options: argparse.Namespace) -> list[Secret]:
    pairs = [(pair, False) for pair in options.secret] + [(pair, True) for pair in options.secret_fd]
    secrets = []
    for pair, in_file in pairs:
        name, _, link = pair.partition("=")
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name) or not link:
            raise UsageError(
                "--secret and --secret-fd take NAME=LINK. A name has letters, digits and underscores."
            )
        try:
            secrets.append(Secret(name, link_in(link), in_file))
        except UsageError as error:
            raise UsageError(f"{name}: {error.detail}") from None
    if not secrets:
        raise UsageError("Which messages? Name at least one: --secret NAME=LINK")
    if len({secret.name for secret in secrets}) < len(secrets):
        raise UsageError("Two messages have the same name. Nothing was opened.")
    if len({(secret.link.origin, secret.link.key) for secret in secrets}) < len(secrets):
        raise UsageError("The same link is given twice, and it opens once. Nothing was opened.")
    if options.secret_fd and not hasattr(os, "memfd_create"):
        raise UsageError("--secret-fd needs Linux. Use --secret. Nothing was opened.")
    return secrets


def _status_without_files(service: Service, link: Link) -> Status:
    status = opening.unread_status(service, link)
    if status.file_bytes:
        raise UsageError(
            "A message has files, which this command cannot hand on: use note-whisperer read. It was not opened."
        )
    return status


def _open(secrets: list[Secret], services: list[Service], passphrase: str | None) -> list[Opened]:
    """Ask for the status of all notes, then open them one by one. A Failure names those that are opened already."""
    opened: list[Opened] = []
    names: list[str] = []
    try:
        statuses = []
        for secret, service in zip(secrets, services, strict=True):
            current = secret.name
            statuses.append(_status_without_files(service, secret.link))
        if (
            any(status.has_passphrase for status in statuses)
            and passphrase is None
            and not terminal.is_there()
        ):
            raise Failure(
                Exit.PASSPHRASE,
                f"It needs a passphrase, and there is no terminal to ask for it: {passphrases.HOW}.",
            )
        for secret, service, status in zip(secrets, services, statuses, strict=True):
            current = secret.name
            prompt = f"Passphrase of {secret.name}: "
            opened.append(opening.open_note(service, secret.link, status, passphrase, prompt))
            names.append(secret.name)
    except Failure as failure:
        failure.detail = f"{current}: {failure.detail}"
        raise _with_opened(failure, names) from None
    except KeyboardInterrupt:
        raise _with_opened(interrupted(), names) from None
    return opened


def _with_opened(failure: Failure, names: list[str]) -> Failure:
    said = f"Already opened, and now gone: {', '.join(names)}." if names else "No message was opened."
    return Failure(
        failure.code, f"{failure.detail} {said} The command was not started.", **failure.members, opened=names
    )


def _variable(name: str, message: str) -> str:
    if "\0" in message or len(message.encode("utf-8")) > LONGEST_VARIABLE:
        raise Failure(
            Exit.FAILED,
            f"{name}: the message is too long for a variable, or has a zero byte. Use --secret-fd for it.",
        )
    return message


def _file(message: str) -> str:
    """The path of a file in memory that the command inherits."""
    descriptor = os.memfd_create("note", flags=0)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(message.encode("utf-8"))
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.set_inheritable(descriptor, True)
    return f"/dev/fd/{descriptor}"


def _replace(command: list[str], variables: dict[str, str], names: list[str]) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and the command would inherit that
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], command, variables)  # nosec B606 # the person's own command, without a shell
    except OSError as error:
        raise Failure(
            Exit.CANNOT_RUN,
            f"The command could not be started: {error.strerror}. Already opened, and now gone: {', '.join(names)}.",
            opened=names,
        ) from None
