"""`note-whisperer`: messages that destroy themselves, from the command line."""

from __future__ import annotations

import json
import os
import sys

from client import terminal
from client.arguments import PROGRAM, parse, parser, run_command
from client.failures import Exit, Failure
from client.settings import Settings


def main() -> int:
    arguments = sys.argv[1:]
    if not arguments:
        terminal.notice(parser().format_help())
        return int(Exit.USAGE)
    try:
        options = parse(arguments)
        options.environment = os.environ
        return int(run_command(options, Settings.from_env(os.environ)))
    except Failure as failure:
        own = arguments[: arguments.index("--")] if "--" in arguments else arguments
        _report(failure, "--json" in own)
        return int(failure.code)
    except KeyboardInterrupt:
        terminal.notice("")  # the line on which the terminal has shown ^C
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:  # of the help, whose end nobody reads
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.FAILED)


def _report(failure: Failure, as_json: bool) -> None:
    if as_json:
        terminal.notice(json.dumps(failure.as_json()))
    else:
        terminal.notice(f"{PROGRAM}: {failure.detail}")


if __name__ == "__main__":
    sys.exit(main())
