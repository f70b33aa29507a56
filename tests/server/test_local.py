"""What the parent process does while PostgreSQL and the server processes run."""

import logging
import socket
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from server import local
from server.embedded import EmbeddedError, Postgres
from server.local import SEED_INTERVAL, Upkeep
from server.process import ListenError
from server.settings import Settings
from tests.server_process import free_port


class Clock:
    """A clock that stands still until a test moves it."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def process():
    """A process that runs until the test ends."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def settings():
    return Settings.from_env({"PORT": str(free_port())})


def listening(host):
    """A socket that listens at this address of the loopback."""
    try:
        return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError:
        pytest.skip(f"this machine has no {host}")


def upkeep_of(process, settings, seed=lambda: None, clock=lambda: 0.0):
    return Upkeep(settings, Postgres(Path("/nowhere"), process), seed, clock)


@pytest.mark.parametrize(
    ("text", "line"), [("the disk is full\nHINT: none", "the disk is full"), ("", "OperationalError")]
)
def test_a_failure_to_make_keys_does_not_end_the_service(process, settings, caplog, text, line):
    """It is logged in one line, whatever its text, and keys are made the next time."""
    clock, attempts = Clock(), []

    def seed():
        attempts.append(clock.now)
        if len(attempts) == 1:
            raise psycopg2.OperationalError(text)

    upkeep = upkeep_of(process, settings, seed, clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            clock.now += SEED_INTERVAL + 1
            upkeep.tick()

    assert len(attempts) == 3
    assert [record.getMessage() for record in caplog.records] == [f"no more keys were made: {line}"]


def test_keys_are_made_from_time_to_time(process, settings):
    """There are ten ticks a second, but keys are made every half minute."""
    clock, attempts = Clock(), []
    upkeep = upkeep_of(process, settings, lambda: attempts.append(clock.now), clock)

    for _ in range(700):
        clock.now += 0.1
        upkeep.tick()

    assert len(attempts) == 2


def test_the_service_ends_with_its_postgresql(process, settings):
    """The error says where to look."""
    upkeep = upkeep_of(process, settings)
    process.kill()
    process.wait()

    with pytest.raises(EmbeddedError, match="postgres.log"):
        upkeep.tick()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_the_user_is_welcomed_once(process, capsys, host):
    """The welcome appears when the server accepts connections."""
    with listening(host) as listener:
        settings = Settings.from_env({"HOST": host, "PORT": str(listener.getsockname()[1])})
        upkeep = upkeep_of(process, settings)
        for _ in range(3):
            upkeep.tick()

    assert capsys.readouterr().out.count(f"open {settings.public_url} in a browser") == 1


def test_the_user_is_not_welcomed_before_the_server_listens(process, settings, capsys):
    """The link in the welcome would not work yet."""
    upkeep_of(process, settings).tick()

    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_in_use_is_found_before_the_start(data_dir, host):
    """Nothing is started for a server that cannot listen."""
    with listening(host) as listener:
        port = listener.getsockname()[1]
        settings = Settings.from_env({"HOST": host, "PORT": str(port), "DATA_DIR": str(data_dir)})

        with pytest.raises(ListenError, match=f"{host}, port {port}: Address already in use"):
            local.run(settings, {})

    assert not data_dir.exists()
