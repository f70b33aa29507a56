"""Makes the man page and the completions of bash, zsh and fish from the parsers of the commands.

`make manual` writes them into client/share/, where `pip install` finds them. A test compares them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from client.arguments import COMMANDS, DESCRIPTION, PROGRAM, parser
from client.failures import Exit
from client.settings import TOKEN, URL

SHARE = Path(__file__).with_name("share")


class Option(NamedTuple):
    """An option, or an argument if it has no flags."""

    flags: list[str]
    value: str | None
    help: str
    is_repeated: bool = False

    @property
    def takes_file(self) -> bool:
        return self.value == "FILE"

    @property
    def takes_folder(self) -> bool:
        return self.value == "FOLDER"


class Part(NamedTuple):
    """A command, as its parser describes it."""

    name: str
    help: str
    usage: str
    description: str
    epilog: str
    options: list[Option]

    @property
    def takes_files(self) -> bool:
        """Whether words that are not options are files."""
        return any(option.takes_file and not option.flags for option in self.options)


def parts() -> list[Part]:
    """All commands."""
    (choices,) = (
        action.choices for action in parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return [_part(name, sub) for name, sub in choices.items()]


def _part(name: str, sub: argparse.ArgumentParser) -> Part:
    options = [
        Option(
            list(action.option_strings),
            None if action.nargs == 0 else str(action.metavar),
            (action.help or "").replace("%%", "%"),
            action.nargs == "*" or isinstance(action, argparse._AppendAction),
        )
        for action in sub._actions
        if action.help != argparse.SUPPRESS
    ]
    usage = sub.usage or f"{PROGRAM} {name} {_arguments(options)}"
    return Part(name, COMMANDS[name].HELP, usage, sub.description or "", sub.epilog or "", options)


def _arguments(options: list[Option]) -> str:
    words = [
        f"[{option.value} ...]" if option.is_repeated else str(option.value)
        for option in options
        if not option.flags
    ]
    return " ".join(["[options]", *words])


def man_page() -> str:
    """The man page, in the language of man(7)."""
    return "\n".join(_man_lines()) + "\n"


def _man_lines() -> Iterator[str]:
    yield f'.TH {_roff(PROGRAM.upper())} 1 "" "{PROGRAM}" "User Commands"'
    yield ".SH NAME"
    yield f"{_roff(PROGRAM)} \\- send and read messages that destroy themselves"
    yield ".SH SYNOPSIS"
    for number, part in enumerate(parts()):
        yield from ([".br"] if number else [])
        yield f".B {_roff(part.usage)}"
    yield ".SH DESCRIPTION"
    yield from list(_paragraphs(DESCRIPTION))[1:]
    for part in parts():
        yield f".SH {_roff(part.name.upper())}"
        yield f".B {_roff(part.usage)}"
        yield from _paragraphs(part.description)
        for option in part.options:
            name = ", ".join(option.flags) or str(option.value)
            yield ".TP"
            yield f".B {_roff(name)}" + (
                f" \\fI{_roff(option.value)}\\fR" if option.flags and option.value else ""
            )
            yield _roff(option.help)
        yield from _paragraphs(part.epilog)
    yield ".SH ENVIRONMENT"
    for name, meaning in {
        URL: "The address of the service that send uses, such as https://notes.example.org.",
        TOKEN: "The access token for that service, if it asks for one. It is sent to no other address.",
        "HTTPS_PROXY, NO_PROXY": "The proxy to use, http://HOST:PORT, and the names that need none.",
        "SSL_CERT_FILE": "A file with certificate authorities, instead of those of the system.",
        "NO_COLOR, TERM=dumb": "No colours. With TERM=dumb, no line that shows progress either. Both are for"
        " terminals only, and --json has neither.",
    }.items():
        yield from (".TP", f".B {_roff(name)}", _roff(meaning))
    yield ".SH FILES"
    yield from (".TP", ".I ~/.config/note\\-whisperer/settings")
    yield (
        f"Lines {_roff(URL)}=… and {_roff(TOKEN)}=…, for what the environment does not set. Nobody else may be able"
        " to read the file (mode 0600). With XDG_CONFIG_HOME, it is in that folder."
    )
    yield ".SH EXIT STATUS"
    for code in Exit:
        yield from (".TP", f".B {int(code)}", _roff(code.meaning))
    yield ".SH ERRORS"
    yield (
        "With \\-\\-json, an error is a JSON object on standard error: error (the name of the exit code), exit (its"
        " number), detail (a text for people), and what else is known, such as ending, tries_left, retry_after (in"
        " seconds) or opened (the names of the messages that run has already opened). Nothing else is written there."
    )


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        if any(line.startswith("  ") for line in paragraph.splitlines()):
            yield from (".PP", ".nf", *[_roff(line) for line in paragraph.splitlines()], ".fi")
        else:
            yield from (".PP", *[_roff(line) for line in paragraph.splitlines()])


def _roff(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti")
    return "\\&" + text if text.startswith((".", "'")) else text


def bash() -> str:
    """The completion of bash."""
    options = [option for part in parts() for option in part.options if option.value]
    files = sorted({flag for option in options for flag in option.flags if option.takes_file})
    folders = sorted({flag for option in options for flag in option.flags if option.takes_folder})
    flags = {flag for option in options for flag in option.flags}
    values = sorted(flags.difference(files, folders))
    cases = "\n".join(
        f"        {part.name}) options='{' '.join(flag for option in part.options for flag in option.flags)}' ;;"
        for part in parts()
    )
    return f"""\
# shellcheck shell=bash
# Completion of {PROGRAM} for bash, made by client/manual.py.
_note_whisperer() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD - 1]}} options='' at
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        mapfile -t COMPREPLY < <(compgen -W '{" ".join(part.name for part in parts())} --help --version' -- "$word")
        return
    fi
    for ((at = 2; at < COMP_CWORD; at++)); do
        if [[ ${{COMP_WORDS[at]}} == -- ]]; then # what follows is another command
            if ((at + 1 == COMP_CWORD)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$word")
            else
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
            fi
            return
        fi
    done
    case $previous in
        {"|".join(files)}) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
        {"|".join(folders)}) mapfile -t COMPREPLY < <(compgen -d -- "$word"); return ;;
        {"|".join(values)}) return ;;
    esac
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
    if [[ $word == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
    elif [[ ${{COMP_WORDS[1]}} == @({"|".join(part.name for part in parts() if part.takes_files)}) ]]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$word")
    fi
}}
complete -o filenames -F _note_whisperer {PROGRAM}
"""


def zsh() -> str:
    """The completion of zsh."""
    commands = "\n".join(f"        {_quoted(f'{part.name}:{part.help}')}" for part in parts())
    return f"""\
#compdef {PROGRAM}
# Completion of {PROGRAM} for zsh, made by client/manual.py.
_note_whisperer() {{
    local -a commands=(
{commands}
    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    shift words
    (( CURRENT-- ))
    case $words[1] in
{"".join(_zsh_case(part) for part in parts())}\
    esac
}}
_note_whisperer "$@"
"""


def _zsh_case(part: Part) -> str:
    lines = [f"        {part.name})"]
    if part.name == "run":  # what follows -- is another command
        lines.append("            local at=${words[(ie)--]}")
        lines.append("            if (( at < CURRENT )); then")
        lines.append("                shift $at words")
        lines.append("                (( CURRENT -= at ))")
        lines.append("                _normal")
        lines.append("                return")
        lines.append("            fi")
    lines.append("            _arguments \\")
    for option in part.options:
        value = f":{option.value}:{_zsh_action(option)}" if option.value else ""
        repeated = "*" if option.is_repeated else ""
        if not option.flags:
            lines.append(f"                {_quoted(f'{repeated}{value}')} \\")
        for flag in option.flags:
            words = (
                option.help.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
            )
            lines.append(f"                {_quoted(f'{repeated}{flag}[{words}]{value}')} \\")
    lines[-1] = lines[-1].removesuffix(" \\")
    return "\n".join([*lines, "            ;;", ""])


def _zsh_action(option: Option) -> str:
    return "_files -/" if option.takes_folder else "_files" if option.takes_file else ""


def fish() -> str:
    """The completion of fish."""
    lines = [
        f"# Completion of {PROGRAM} for fish, made by client/manual.py.",
        f"complete -c {PROGRAM} -f",
    ]
    for part in parts():
        lines.append(f"complete -c {PROGRAM} -n __fish_use_subcommand -a {part.name} -d {_quoted(part.help)}")
        for option in part.options:
            flags = " ".join(
                f"-l {flag.removeprefix('--')}" if flag.startswith("--") else f"-s {flag.removeprefix('-')}"
                for flag in option.flags
            )
            if flags:
                value = _fish_value(option) if option.value else ""
                words = _quoted(option.help)
                lines.append(
                    f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {part.name}' {flags}{value} -d {words}"
                )
        if part.takes_files:
            lines.append(f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from {part.name}' -F")
    # What follows -- is another command.
    lines.append(
        f"complete -c {PROGRAM} -n '__fish_seen_subcommand_from run; and contains -- -- (commandline -opc)' -x"
        ' -a \'(complete -C (commandline -cp | string replace -r "^.*? -- " ""))\''
    )
    return "\n".join(lines) + "\n"


def _fish_value(option: Option) -> str:
    if option.takes_folder:
        return " -x -a '(__fish_complete_directories)'"
    return " -r -F" if option.takes_file else " -x"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


FILES = {
    "man/man1/note-whisperer.1": man_page,
    "bash-completion/completions/note-whisperer": bash,
    "zsh/site-functions/_note-whisperer": zsh,
    "fish/vendor_completions.d/note-whisperer.fish": fish,
}

if __name__ == "__main__":
    for name, content in FILES.items():
        (SHARE / name).parent.mkdir(parents=True, exist_ok=True)
        (SHARE / name).write_text(content(), encoding="utf-8")
