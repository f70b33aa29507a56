"""The man page and the completions are those of the parsers, and their programs take them."""

import os
import shutil
import subprocess

import pytest

from client import manual
from client.failures import Exit
from tests.server_process import ROOT

BASH, ZSH, FISH = [manual.SHARE / name for name in list(manual.FILES)[1:]]


def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


def output(*command, **environment):
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", manual.FILES)
def test_they_are_up_to_date(name):
    """If this fails, run `make manual`."""
    assert (manual.SHARE / name).read_text(encoding="utf-8") == manual.FILES[name]()


def test_setup_cfg_installs_them():
    """Each of them is in data_files."""
    text = (ROOT / "setup.cfg").read_text()

    assert [
        name for name in manual.FILES if f"share/{os.path.dirname(name)} = client/share/{name}\n" not in text
    ] == []


def test_every_exit_code_is_in_the_man_page():
    """With its meaning."""
    page = manual.man_page()

    assert [code for code in Exit if f".B {int(code)}\n" not in page] == []


@needs("man")
def test_the_man_page_is_well_formed():
    """man has nothing to warn of."""
    shown = output(
        "man", "--warnings", "-l", str(manual.SHARE / "man/man1/note-whisperer.1"), LC_ALL="C.UTF-8"
    )

    assert "EXIT STATUS" in shown and "--insecure-http" in shown


@needs("bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["s"], {"send", "status"}),
        (["send", "--pass"], {"--passphrase", "--passphrase-file", "--passphrase-fd"}),
        (["read", "--y"], {"--yes"}),
        (["send", "--lifetime", ""], set()),
        (["send", "--file", "client/ser"], {"client/service.py"}),
        (["send", "client/ser"], {"client/service.py"}),
        (["status", "client/ser"], set()),
        (["read", "--output", "client/sh"], {"client/share"}),
        (["run", "--secret", "A=link", "--", "mapfi"], {"mapfile"}),
        (["run", "--", "cat", "client/ser"], {"client/service.py"}),
        (["run", "--", "cat", "--js"], set()),
    ],
)
def test_bash(words, offered):
    """What bash offers for the last word."""
    script = f"""
        source {BASH}; cd {ROOT}
        COMP_WORDS=(note-whisperer "$@"); COMP_CWORD=$#; _note_whisperer; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    assert set(output("bash", "-c", script, "bash", *words).split()) == offered


@needs("zsh")
def test_zsh():
    """zsh parses it, and loads it as the completion of the command."""
    script = "autoload -Uz compinit && compinit -u -D && print $_comps[note-whisperer]"

    assert output("zsh", "-f", "-n", str(ZSH)) == ""
    assert output("zsh", "-f", "-c", f"fpath=({ZSH.parent} $fpath); {script}").strip() == "_note-whisperer"


@needs("zsh")
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("note-whisperer sta", "status"),
        ("note-whisperer send client/ser", "client/service.py"),
        ("note-whisperer read --output client/sh", "client/share"),
        ("note-whisperer run --secret A=link -- printe", "printenv"),
        ("note-whisperer run -- cat client/ser", "client/service.py"),
    ],
)
def test_zsh_completes(words, completed):
    """A terminal shows the whole word after the tabulator."""
    script = """
        zmodload zsh/zpty
        zpty z zsh -f -i
        zpty -w z "fpath=($1 \\$fpath); autoload -Uz compinit; compinit -u -D; cd $2; PS1='re''ady'"
        zpty -r z screen '*ready*'
        zpty -w -n z "$3"$'\\t'
        zpty -r z screen "*$4*"
        zpty -d z
        print -r -- $4
    """
    arguments = (str(ZSH.parent), str(ROOT), words, completed)
    assert output("zsh", "-f", "-c", script, "zsh", *arguments, TERM="xterm") == f"{completed}\n"


@needs("fish")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("s", {"send", "status"}),
        ("send --cop", {"--copies"}),
        ("read --y", {"--yes"}),
        ("send --raw", set()),
        ("send client/ser", {"client/service.py"}),
        ("status client/ser", set()),
        ("read --output client/sh", {"client/share/"}),
        ("run -- printe", {"printenv"}),
        ("run --secret A=link -- cat client/ser", {"client/service.py"}),
        ("run -- cat --js", set()),
    ],
)
def test_fish(words, offered, tmp_path):
    """What fish offers for the last word."""
    script = f"cd {ROOT}; source {FISH}; complete -C 'note-whisperer {words}'"
    lines = output("fish", "--no-config", "-c", script, HOME=str(tmp_path)).splitlines()

    assert {line.partition("\t")[0] for line in lines} == offered


def test_every_exit_code_is_in_the_readme():
    """In the same words."""
    readme = (ROOT / "README.md").read_text()

    assert [code for code in Exit if f"| {int(code)} | {code.meaning} |\n" not in readme] == []
