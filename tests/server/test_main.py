"""`python -m server` as its operator sees it: starting, stopping, killed, and with wrong settings."""

import concurrent.futures
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import psycopg2
import pytest

from server.supervisor import REFUSED
from tests.server_process import ROOT, free_port, serving, two_free_ports, wait_until_ready


def post(url, message):
    """Put a message, and return its link."""
    request = urllib.request.Request(
        f"{url}/post", json.dumps({"message": message}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["url"]


def reveal(link):
    """Reveal a message by its link."""
    request = urllib.request.Request(link, headers={"Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["message"]


def run(*arguments, **environment):
    """`python -m server` with these arguments, until it ends."""
    return subprocess.run(
        [sys.executable, "-m", "server", *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_an_unread_note_is_there_after_a_restart(data_dir):
    """SIGTERM stops the server and its PostgreSQL; started again, everything is still there."""
    environment = {"DATA_DIR": str(data_dir), "PORT": str(free_port())}
    with serving(environment) as (url, process):
        link = post(url, "hello")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not (data_dir / "postgres" / "postmaster.pid").exists()

    with serving(environment):
        assert reveal(link) == "hello"


def test_killed_in_the_middle_of_traffic_it_loses_no_note_that_was_handed_out(data_dir):
    """After SIGKILL of everything and a new start, every link that a client got still works."""
    environment = {"DATA_DIR": str(data_dir), "PORT": str(free_port())}
    links = {}
    killed = threading.Event()

    def client(number):
        for n in range(10_000):
            if killed.is_set():
                return
            with contextlib.suppress(OSError):
                links[post(url, f"{number}/{n}")] = f"{number}/{n}"

    with serving(environment) as (url, process):
        with concurrent.futures.ThreadPoolExecutor(4) as clients:
            for number in range(4):
                clients.submit(client, number)
            while len(links) < 200:
                pass
            process.kill()
            process.wait()
            killed.set()

    with serving(environment):
        assert {link: reveal(link) for link in links} == links


def test_a_process_that_dies_is_replaced(data_dir, tmp_path):
    """The parent keeps a server process running for each port."""
    log = tmp_path / "log"
    with serving({"DATA_DIR": str(data_dir), "LOG_FORMAT": "json"}, log) as (url, parent):
        servers = [
            pid
            for pid in children_of(parent)
            if b"server" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        ]
        link = post(url, "hello")
        os.kill(servers[0], signal.SIGKILL)

        wait_until_ready(url, parent)
        assert reveal(link) == "hello"

    assert "a server process ended with code -9: starting another" in log.read_text()


def test_several_processes_listen_on_ports_in_a_row(seeded_key_db_url, msg_db_url):
    """PROCESSES=2 serves the same notes on PORT and PORT + 1, and /healthz asks both."""
    environment = {
        "PROCESSES": "2",
        "PORT": str(two_free_ports()),
        "KEY_DB_URL": seeded_key_db_url,
        "MSG_DB_URL": msg_db_url,
    }
    with serving(environment) as (url, process):
        wait_until_ready(f"http://localhost:{int(environment['PORT']) + 1}", process)
        link = post(url, "hello")

        assert reveal(link.replace(f":{environment['PORT']}", f":{int(environment['PORT']) + 1}")) == "hello"
        assert run("health", **environment).returncode == 0
    assert run("health", **environment).returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may see the environment of a server process")
def test_a_url_from_a_file_stays_out_of_the_environment(seeded_key_db_url, msg_db_url, tmp_path):
    """Each of several processes reads the file itself."""
    environment = {"PROCESSES": "2", "PORT": str(two_free_ports())}
    for name, url in (("KEY_DB_URL", seeded_key_db_url), ("MSG_DB_URL", msg_db_url)):
        (tmp_path / name).write_text(url)
        environment[f"{name}_FILE"] = str(tmp_path / name)
    with serving(environment) as (_, parent):
        wait_until_ready(f"http://localhost:{int(environment['PORT']) + 1}", parent)
        children = children_of(parent)
        seen = [Path(f"/proc/{pid}/environ").read_text() for pid in [parent.pid, *children]]

    assert len(children) == 2
    assert all(f"KEY_DB_URL_FILE={tmp_path}" in variables for variables in seen)
    assert not any("postgresql://" in variables for variables in seen)


def children_of(process):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in children.read_text().split()]


def test_it_finishes_the_request_in_progress_before_it_stops(seeded_key_db_url, msg_db_url):
    """A put whose statement waits for a lock is answered, although SIGTERM came meanwhile."""
    lock = psycopg2.connect(msg_db_url)
    lock.cursor().execute("LOCK TABLE note IN EXCLUSIVE MODE")
    with serving({"KEY_DB_URL": seeded_key_db_url, "MSG_DB_URL": msg_db_url}) as (url, process):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            put = pool.submit(post, url, "hello")
            _wait_for_lock(msg_db_url)
            process.send_signal(signal.SIGTERM)
            while _accepts(url):
                pass
            assert not put.done()
            lock.rollback()

            assert put.result(30).startswith("http://localhost")
        assert process.wait(30) == 0
    lock.close()


def _wait_for_lock(url):
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        waiting = 0
        while not waiting:
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            ((waiting,),) = cursor.fetchall()
    connection.close()


def _accepts(url):
    try:
        socket.create_connection(("localhost", int(url.rpartition(":")[2])), timeout=5).close()
    except OSError:
        return False
    return True


def test_it_serves_as_soon_as_its_databases_are_available(key_db_url, msg_db_url):
    """Started before them, it answers 503, and becomes ready by itself."""
    renamed = msg_db_url.replace("msg_db_", "later_msg_db_")
    owner = psycopg2.connect(key_db_url)
    owner.autocommit = True
    port = free_port()
    environment = {"PORT": str(port), "KEY_DB_URL": key_db_url, "MSG_DB_URL": renamed}
    process = subprocess.Popen(
        [sys.executable, "-m", "server"], env={"PATH": os.environ["PATH"], **environment}, cwd=ROOT
    )
    try:
        url = f"http://localhost:{port}"
        while not _accepts(url):
            pass
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{url}/readyz", timeout=30)
        assert caught.value.code == 503
        assert json.load(caught.value)["msg_db"] is False
        caught.value.close()
        name = msg_db_url.partition("@/")[2].partition("?")[0]
        with owner.cursor() as cursor:
            cursor.execute(f"ALTER DATABASE {name} RENAME TO later_{name}")
            cursor.execute("INSERT INTO key_block VALUES (0, %s)", ("AAAAA" * 256,))
            cursor.execute("UPDATE key_cursor SET seeded = 1")
        wait_until_ready(url, process)
    finally:
        process.terminate()
        assert process.wait(60) == 0
        owner.close()


def test_a_database_of_another_version_stops_the_start(msg_db_url, postgres):
    """The log says what to run, and the exit code says that trying again is useless."""
    done = run(KEY_DB_URL=postgres.url("postgres"), MSG_DB_URL=msg_db_url, PORT=str(free_port()))

    assert done.returncode == REFUSED
    assert "run `python -m server migrate`" in done.stderr
    assert "Traceback" not in done.stderr


def test_migrate_makes_both_databases_and_the_roles(postgres):
    """The command may be repeated."""
    owner = psycopg2.connect(postgres.url("postgres"))
    owner.autocommit = True
    for name in ("fresh_keys", "fresh_msgs"):
        owner.cursor().execute(f"CREATE DATABASE {name}")
    owner.close()
    environment = {
        "KEY_DB_URL": postgres.url("fresh_keys"),
        "MSG_DB_URL": postgres.url("fresh_msgs"),
        "WEB_KEY_DB_URL": postgres.url("fresh_keys").replace("note_whisperer@", "fresh_web:pw@"),
        "WEB_MSG_DB_URL": postgres.url("fresh_msgs").replace("note_whisperer@", "fresh_web:pw@"),
        "KGS_KEY_DB_URL": postgres.url("fresh_keys").replace("note_whisperer@", "fresh_kgs:pw@"),
    }

    first, second = run("migrate", **environment), run("migrate", **environment)

    assert (first.returncode, second.returncode) == (0, 0)
    assert "0001_notes" in first.stderr and "nothing to do" in second.stderr
    assert first.stderr.count("is ready") == 3
    assert "pw" not in first.stderr


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PORT": "eighty", "LOG_LEVEL": "loud"}, "PORT: takes a whole number from 1 to 65535\nLOG_LEVEL: "),
        ({"HOST": "0.0.0.0"}, "PUBLIC_URL: is required"),
    ],
)
def test_bad_settings_are_named_and_stop_the_start(environment, said):
    """Each has its own line, without a traceback."""
    done = run(**environment)

    assert done.returncode == REFUSED
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_reported_before_anything_is_started(data_dir):
    """No PostgreSQL is created for a server that cannot listen."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(PORT=str(port), DATA_DIR=str(data_dir))

    assert done.returncode == REFUSED
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in done.stderr
    assert not data_dir.exists()


def test_a_port_in_use_is_reported_with_databases_of_its_own_too(seeded_key_db_url, msg_db_url):
    """The message is the same without an embedded PostgreSQL."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = run(PORT=str(port), KEY_DB_URL=seeded_key_db_url, MSG_DB_URL=msg_db_url)

    assert done.returncode == REFUSED
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_host_that_is_unknown_is_reported(seeded_key_db_url, msg_db_url):
    """The message says that the name service does not know it."""
    environment = {"HOST": "host.invalid", "PUBLIC_URL": "https://notes.test"}
    done = run(KEY_DB_URL=seeded_key_db_url, MSG_DB_URL=msg_db_url, **environment)

    assert done.returncode == REFUSED
    assert "cannot listen on host.invalid, port 8080: " in done.stderr
    assert "Traceback" not in done.stderr


def test_any_other_error_is_not_taken_for_a_port_in_use(data_dir):
    """A log file that is a folder is reported as that."""
    data_dir.mkdir()
    (data_dir / "lock").touch()
    (data_dir / "postgres.log").mkdir()

    done = run(PORT=str(free_port()), DATA_DIR=str(data_dir))

    assert done.returncode == REFUSED
    assert "Is a directory" in done.stderr and "postgres.log" in done.stderr
    assert "cannot listen" not in done.stderr and "Traceback" not in done.stderr


def test_the_help_names_the_commands():
    """A newcomer learns what there is."""
    done = run("--help")

    assert done.returncode == 0
    assert all(word in done.stdout for word in ("serve", "migrate", "health", "README"))


def test_an_unknown_command_is_refused():
    """A mistyped command does not start a server."""
    assert run("sevre").returncode == 2


def test_a_restart_that_is_refused_does_not_stop_the_others(seeded_key_db_url, msg_db_url, tmp_path):
    """In the middle of an upgrade, the processes of the old version keep running."""
    log = tmp_path / "log"
    environment = {
        "PROCESSES": "2",
        "PORT": str(two_free_ports()),
        "KEY_DB_URL": seeded_key_db_url,
        "MSG_DB_URL": msg_db_url,
    }
    with serving(environment, log) as (url, parent):
        second = f"http://localhost:{int(environment['PORT']) + 1}"
        wait_until_ready(second, parent)
        newer = psycopg2.connect(msg_db_url)
        with newer, newer.cursor() as cursor:
            cursor.execute("INSERT INTO schema_version (version) VALUES (1000)")
        newer.close()
        os.kill(children_of(parent)[0], signal.SIGKILL)

        deadline = time.monotonic() + 30
        while "ended with code 78" not in log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "ended with code 78" in log.read_text()
        assert parent.poll() is None
        answers = []
        for address in (url, second):
            with contextlib.suppress(OSError):
                answers.append(urllib.request.urlopen(f"{address}/healthz", timeout=30).status)
        assert 200 in answers
