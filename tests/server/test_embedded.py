"""The embedded PostgreSQL: started, found again, stopped, and never in the way of other programs."""

import os
import pwd
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest

from server import embedded


def _value(url, query):
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def test_what_is_stored_is_there_after_a_restart(data_dir):
    """Both databases exist, and keep what was committed."""
    with embedded.running(data_dir) as postgres:
        _value(postgres.url("key_db"), "CREATE TABLE t AS SELECT 42 AS n")
        _value(postgres.url("msg_db"), "SELECT 1")

    with embedded.running(data_dir) as postgres:
        assert _value(postgres.url("key_db"), "SELECT n FROM t") == 42


def test_the_folder_is_private_and_no_port_is_open(data_dir):
    """Only its owner can reach the socket, and PostgreSQL listens on nothing else."""
    with embedded.running(data_dir) as postgres:
        assert _value(postgres.url("msg_db"), "SHOW listen_addresses") == ""
        modes = {path.name: path.stat().st_mode & 0o077 for path in (data_dir, data_dir / "socket")}

    assert modes == {"data": 0, "socket": 0}


def test_permissions_above_stay_as_they_were(data_dir):
    """Nothing outside the folder is changed."""
    before = [parent.stat().st_mode for parent in data_dir.parents]

    with embedded.running(data_dir):
        pass

    assert [parent.stat().st_mode for parent in data_dir.parents] == before


def test_a_second_server_is_refused_and_a_tool_may_share(data_dir):
    """Two servers cannot have one folder; a tool may use the server that runs there."""
    with embedded.running(data_dir) as postgres:
        with pytest.raises(embedded.EmbeddedError, match="another process uses"):
            with embedded.running(data_dir):
                pass
        with embedded.running(data_dir, share=True) as shared:
            assert shared.url("key_db") == postgres.url("key_db")
            assert _value(shared.url("key_db"), "SELECT 1") == 1
        assert _value(postgres.url("key_db"), "SELECT 1") == 1


def test_a_folder_with_other_files_is_refused_untouched(data_dir):
    """A mistyped DATA_DIR does no harm."""
    data_dir.mkdir(mode=0o755)
    (data_dir / "thesis.txt").write_text("years of work")

    with pytest.raises(embedded.EmbeddedError, match="contains other files"):
        with embedded.running(data_dir):
            pass

    assert os.listdir(data_dir) == ["thesis.txt"]
    assert data_dir.stat().st_mode & 0o777 == 0o755


def test_a_long_path_still_gets_a_socket(data_dir):
    """A socket's path is limited to some hundred bytes; DATA_DIR's is not."""
    deep = data_dir / ("a" * 60) / ("b" * 60)
    deep.parent.mkdir(parents=True)

    with embedded.running(deep) as postgres:
        assert _value(postgres.url("msg_db"), "SELECT 1") == 1
    assert not postgres.socket_folder.exists()  # it was a temporary one


PARENT = """
import sys, time
from pathlib import Path
from server import embedded
with embedded.running(Path(sys.argv[1])) as postgres:
    print(postgres.process.pid, flush=True)
    sys.stdin.read()
"""


def _runs(pid):
    """Whether the process has not ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_it_stops_when_its_parent_is_killed(data_dir):
    """If the parent is killed, the server stops, and the next start finds everything."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    postgres = int(parent.stdout.readline())

    parent.send_signal(signal.SIGKILL)
    parent.communicate()

    deadline = time.monotonic() + 120  # a busy disk takes its time
    while _runs(postgres) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(postgres)
    with embedded.running(data_dir) as again:
        assert _value(again.url("key_db"), "SELECT 1") == 1


def test_a_server_whose_parent_was_killed_is_stopped_first(data_dir):
    """If the server did not learn that its parent died, the next start stops it and continues."""
    with embedded.running(data_dir) as postgres:
        _value(postgres.url("key_db"), "CREATE TABLE t AS SELECT 42 AS n")
        cluster, socket = data_dir / "postgres", data_dir / "socket"
    owner = embedded._unprivileged_user()
    programs = embedded._programs_for(owner, data_dir)
    left = embedded._start(programs, cluster, socket, owner, data_dir / "postgres.log")

    with embedded.running(data_dir) as postgres:
        assert left.process.wait(30) == 0
        assert _value(postgres.url("key_db"), "SELECT n FROM t") == 42


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to step down")
def test_for_root_it_runs_as_another_user(data_dir):
    """PostgreSQL refuses root, and the files belong to the user who runs it."""
    with embedded.running(data_dir) as postgres:
        status = Path(f"/proc/{postgres.process.pid}/status").read_text()

    uid = int(status.split("Uid:")[1].split()[0])
    assert pwd.getpwuid(uid).pw_name in ("postgres", "nobody")
    assert (data_dir / "postgres").stat().st_uid == uid


@pytest.mark.skipif(os.geteuid() != 0, reason="PostgreSQL runs as the same user")
def test_programs_in_a_private_checkout_are_copied(data_dir, monkeypatch):
    """If the other user cannot reach the programs' folder, they run from a copy in DATA_DIR."""
    monkeypatch.setattr(embedded, "_reaches", lambda owner, program: data_dir in program.parents)

    with embedded.running(data_dir) as postgres:
        assert _value(postgres.url("key_db"), "SELECT 1") == 1
        program = os.readlink(f"/proc/{postgres.process.pid}/exe")

    assert Path(program).is_relative_to(data_dir)


def test_a_server_that_cannot_start_says_why(data_dir):
    """The error contains the end of PostgreSQL's log."""
    with embedded.running(data_dir):
        pass
    (data_dir / "postgres" / "PG_VERSION").write_text("7\n")

    with pytest.raises(embedded.EmbeddedError, match="database files are incompatible"):
        with embedded.running(data_dir):
            pass


def test_a_log_that_cannot_be_written_is_named(data_dir):
    """The error says which file is the problem."""
    data_dir.mkdir()
    (data_dir / "lock").touch()
    (data_dir / "postgres.log").mkdir()

    with pytest.raises(embedded.EmbeddedError, match="Is a directory.*postgres.log"):
        with embedded.running(data_dir):
            pass
