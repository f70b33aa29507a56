"""`python -m kgs` in the hands of an operator: arguments, errors, progress, the embedded database."""

import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pytest

from kgs import arguments, status
from server import embedded, roles, schema
from tests.kgs.conftest import ROOT, start


def exit_of(*words):
    with pytest.raises(SystemExit) as exit:
        arguments.parser().parse_args(words)
    return exit.value.code


@pytest.mark.parametrize("command", [[], ["seed"], ["status"], ["verify"], ["fence"]])
def test_help_is_there_for_every_command(capsys, command):
    """--help says what the command does, before anything else is looked at."""
    assert exit_of(*command, "--help") == 0
    assert capsys.readouterr().out.startswith("usage: python -m kgs")


@pytest.mark.parametrize(
    "words",
    [
        "",
        "grow",
        "seed",
        "seed --all --count 5",
        "seed --count 0",
        "seed --count -1",
        "seed --count 1.5",
        "seed --count 1073741825",
        "fence",
        "fence --blocks 0",
        "fence --since yesterday",
        "fence --since 2026-01-01 --blocks 1",
    ],
)
def test_arguments_that_mean_nothing_are_refused(capsys, words):
    """With the usage, and what is wrong in a line."""
    assert exit_of(*words.split()) == 2
    assert "error:" in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "url, why",
    [
        ("mysql://localhost/key_db", "KEY_DB_URL: takes a URL such as postgresql://"),
        ("postgresql://127.0.0.1:1/key_db?connect_timeout=1", "Connection refused"),
        ("postgresql://127.0.0.1:1/key_db?colour=blue", "colour"),
    ],
)
def test_a_wrong_url_is_one_line(kgs, url, why):
    """Whatever is wrong with it, there is no traceback."""
    code, _, errors = kgs("seed", "--count", "256", url=url)

    assert code == 1
    assert why in errors
    assert len(errors.splitlines()) == 1


def test_an_unknown_database_is_one_line(kgs, postgres):
    """The server is right, the name is not."""
    code, _, errors = kgs("status", url=postgres.url("no_such_database"))

    assert code == 1
    assert 'database "no_such_database" does not exist' in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    "change, why",
    [
        ("DELETE FROM schema_version", "run `python -m server migrate`"),
        ("INSERT INTO schema_version (version) VALUES (9999)", "newer than this program's"),
    ],
)
def test_another_schema_version_is_one_line(kgs, sql, change, why):
    """It neither migrates nor touches a key-db that is not its own."""
    sql(change)

    code, _, errors = kgs("seed", "--count", "256")

    assert code == 1
    assert why in errors
    assert len(errors.splitlines()) == 1
    assert sql("SELECT seeded FROM key_cursor") == [(0,)]


def test_the_role_of_the_kgs_may_do_all_it_must(kgs, key_db_url, postgres):
    """Every command works with no more rights than `python -m server migrate` grants."""
    url = as_role(key_db_url, "test_kgs")
    roles.provide(key_db_url, f"{url}&password=secret", roles.KGS_ON_KEY_DB)
    for command in (["seed", "--count", 1000], ["verify"], ["status"], ["fence", "--blocks", 1, "--yes"]):
        code, _, errors = kgs(*command, url=url)
        assert code == 0, errors


def test_a_role_without_rights_is_told_so_in_a_line(kgs, sql, key_db_url):
    """What is missing, and who grants it."""
    sql("CREATE ROLE nobody_in_particular LOGIN")
    sql("GRANT SELECT ON schema_version TO nobody_in_particular")

    code, _, errors = kgs("seed", "--count", 256, url=as_role(key_db_url, "nobody_in_particular"))

    sql("DROP OWNED BY nobody_in_particular; DROP ROLE nobody_in_particular")
    assert code == 1
    assert "permission denied" in errors
    assert "python -m server migrate" in errors
    assert len(errors.splitlines()) == 1


def as_role(url, role):
    return url.replace(f"//{embedded.SUPERUSER}@", f"//{role}@")


def test_on_a_terminal_there_is_a_bar(key_db_url):
    """With rate and time left, as tqdm draws it."""
    terminal, its_end = pty.openpty()
    termios.tcsetwinsize(its_end, (25, 100))
    with start(key_db_url, "seed", "--count", 256, stdout=its_end, stderr=its_end) as process:
        os.close(its_end)
        shown = b""
        while part := read(terminal):
            shown += part
    os.close(terminal)

    assert process.returncode == 0
    assert re.search(r"seeding: 100%\|█+\| 256/256 \[00:\d\d<00:00, ", shown.decode())


def read(terminal):
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


def test_elsewhere_there_are_log_lines(kgs):
    """With share, rate and time left, and without control characters."""
    _, _, errors = kgs("seed", "--count", 256)

    assert re.search(r"INFO seeding: 100% 256/256 \[00:\d\d<00:00, .*keys/s\]\n", errors)
    assert "\r" not in errors
    assert "█" not in errors


def test_a_secret_url_may_be_in_a_file(key_db_url, tmp_path):
    """KEY_DB_URL_FILE in place of KEY_DB_URL, and LOG_FORMAT as for the server."""
    (tmp_path / "url").write_text(key_db_url + "\n")
    env = {"PATH": os.environ["PATH"], "KEY_DB_URL_FILE": str(tmp_path / "url"), "LOG_FORMAT": "json"}

    seed = subprocess.run(
        [sys.executable, "-m", "kgs", "seed", "--count", "256"], cwd=ROOT, env=env, capture_output=True
    )

    assert seed.returncode == 0
    assert b'"message": "done: 256 keys are seeded"' in seed.stderr


def test_without_a_url_the_embedded_database_is_used(kgs, monkeypatch):
    """The KGS shares the one of DATA_DIR with its server, and migrates it."""
    with tempfile.TemporaryDirectory(prefix="nw-kgs-") as folder:
        Path(folder).chmod(0o755)  # as root, PostgreSQL's own user has to pass
        monkeypatch.setenv("DATA_DIR", f"{folder}/data")
        with embedded.running(Path(folder, "data")) as running:
            code, _, errors = kgs("seed", "--count", 256, url="")

            assert code == 0, errors
            assert status.status(running.url(schema.KEY_DB)).seeded == 256
