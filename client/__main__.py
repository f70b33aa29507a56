"""`note-whisperer`: messages that destroy themselves, from the command line."""

from __future__ import annotations

import json
import os
import sys

from client import terminal
from client.arguments import PROGRAM, parse, parser, run_command
from client.failures import Exit, Failure, interrupted
from client.settings import Settings


def main() -> int:
    arguments = sys.argv[1:]
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments
    as_json = "--json" in own
    terminal.set_style(os.environ, as_json)
    if not arguments:
        terminal.say(parser().format_help())
        return int(Exit.USAGE)
    try:
        options = parse(arguments)
        options.environment = os.environ
        return int(run_command(options, Settings.from_env(os.environ)))
    except Failure as failure:
        _report(failure, as_json)
        return int(failure.code)
    except KeyboardInterrupt:
        _report(interrupted(), as_json)
        return int(Exit.INTERRUPTED)
    except BrokenPipeError:  # nobody reads the end of the help
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return int(Exit.FAILED)


def _report(failure: Failure, as_json: bool) -> None:
    if as_json:
        terminal.say(json.dumps(failure.as_json()))
    else:
        if failure.code is Exit.INTERRUPTED:
            terminal.say("")  # the line on which the terminal has shown ^C
        terminal.say_error(PROGRAM, failure.detail)


if __name__ == "__main__":
    sys.exit(main())
