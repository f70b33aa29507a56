"""Strangers do everything that they can for a while: readers do not notice, and little is used up.

`make strangers` lets each of them continue for ten minutes while 1,000 readers come; the suite takes seconds.
"""

import collections
import contextlib
import http.client
import itertools
import json
import os
import random
import threading
import time

import psutil
import psycopg2
import pytest

from kgs import seeding
from server import schema
from tests.conftest import fresh_database
from tests.deploy.nginx.conftest import KEYS, ServerProcess, free_ports
from tests.deploy.nginx.test_limits import half_open
from tests.deploy.nginx.test_memory import memory

SECONDS = int(os.environ.get("STRANGERS_SECONDS", "6"))
PROBES = max(10, SECONDS * 1000 // 600)
THREADS = 12  # of a stranger
LONGEST = "x" * 65536
MIB = 1 << 20
JSON = {"Content-Type": "application/json", "Accept": "application/json"}

# The budgets that docs/operating.md states: puts a second, and at once.
POST_RATE, POST_BURST = 1, 20
SHARE_OF_A_48 = 4
NOTE_ON_DISK = 1.5 * len(LONGEST)  # bytes, with indexes, WAL aside


@pytest.fixture
def service(postgres, folders):
    """A server process with its own databases: its counts are of this test alone."""
    databases = [fresh_database(postgres, name) for name in (schema.KEY_DB, schema.MSG_DB)]
    seeding.ensure_ahead(databases[0], KEYS)
    (port,) = free_ports(1)
    server = ServerProcess(port, *databases, folders() / "server.log")
    server.msg_db_url = databases[1]
    server.wait_until_ready()
    yield server
    server.kill()


class Use:
    """The finite resources in use, before and after."""

    def __init__(self, server, nginx):
        with psycopg2.connect(server.msg_db_url) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*), pg_database_size(current_database()) FROM note")
            self.notes, self.disk = cursor.fetchone()
        connection.close()
        self.server = psutil.Process(server.process.pid).memory_info().rss
        self.nginx = memory(nginx)


class Stranger:
    """Does all of this in many threads at once until it is left; `answers` counts the statuses that came back.

    Args:
        acts: each takes an ExitStack for what it keeps open, and returns what its thread does over and over.
    """

    def __init__(self, *acts):
        self._stopping = threading.Event()
        self.answers = collections.Counter()
        self._threads = [
            threading.Thread(target=self._run, args=(act,))
            for act in itertools.islice(itertools.cycle(acts), THREADS)
        ]

    def _run(self, act):
        with contextlib.ExitStack() as stack:
            once = act(stack, self._stopping)
            while not self._stopping.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self.answers[once()] += 1

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        for thread in self._threads:
            thread.join()


class Client:
    """Sends one request after the other over a connection that it keeps as long as nginx does."""

    def __init__(self, nginx, source="127.0.0.1", forwarded=None):
        """
        Args:
            source: the address it connects from.
            forwarded: gives for each request the address that a balancer would write down.
        """
        self._nginx, self._source, self._forwarded = nginx, source, forwarded
        self._connection = None

    def ask(self, method, path, fields=None):
        """Send a request: its status and its body."""
        headers = JSON | ({"X-Forwarded-For": self._forwarded()} if self._forwarded else {})
        try:
            self._connection = self._connection or self._nginx.connect(source=self._source)
            self._connection.request(method, path, json.dumps(fields) if fields else None, headers)
            with contextlib.closing(self._connection.getresponse()) as answer:
                return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def close(self):
        if self._connection:
            self._connection.close()
        self._connection = None


def asking(nginx, method, path, fields=None, **client):
    """An act: send this request. The path may be a function that gives one."""

    def act(stack, _):
        mine = stack.enter_context(contextlib.closing(Client(nginx, **client)))
        return lambda: mine.ask(method, path() if callable(path) else path, fields)[0]

    return act


def holding(nginx, source):
    """An act: open 200 connections, say nothing in them, and let go of them."""

    def act(_, stopping):
        def once():
            with contextlib.ExitStack() as held:
                for _ in range(200):
                    held.enter_context(half_open(nginx, source))
                    if stopping.is_set():
                        break

        return once

    return act


def dripping(nginx, source):
    """An act: announce the longest body, and send a few bytes of it now and then until nginx has enough of it."""

    def act(_, stopping):
        def once():
            with contextlib.closing(nginx.connect(source=source)) as connection:
                connection.putrequest("POST", "/post")
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", "400000")
                connection.endheaders()
                while not stopping.wait(0.2):
                    connection.send(b"x" * 100)

        return once

    return act


def random_key():
    return "/" + "".join(random.choices("ABCDEFGHJKLMNPQRSTUVWXYZ", k=5))


def failed_readers(nginx, addresses):
    """Lets PROBES people put, peek at and open a message, one after another; returns those who could not."""
    failures = []
    start = time.monotonic()
    for number, address in zip(range(PROBES), addresses):
        threading.Event().wait(
            start + number * SECONDS / PROBES - time.monotonic()
        )  # as often as readers come
        try:
            with contextlib.closing(Client(nginx, **address)) as client:
                put, answer = client.ask("POST", "/post", {"message": f"for reader {number}"})
                key, token = json.loads(answer)["url"].split("/")[-2:]
                seen, _ = client.ask("GET", f"/{key}")
                read, answer = client.ask("POST", f"/{key}/reveal", {"token": token})
                if (put, seen, read, json.loads(answer)["message"]) != (
                    201,
                    200,
                    200,
                    f"for reader {number}",
                ):
                    failures.append((number, put, seen, read, answer))
        except (OSError, http.client.HTTPException, KeyError) as error:
            failures.append((number, repr(error)))
    return failures


NEIGHBOURS = [{"source": f"127.0.1.{number}"} for number in range(1, 251)]
OTHERS = [{"forwarded": lambda number=number: f"198.51.100.{number}"} for number in range(1, 251)]


def report(name, before, after, stranger, seconds):
    print(
        f"\n{name}: {seconds:.0f} s, {PROBES} readers; answers {stranger.answers};"
        f" notes {after.notes - before.notes}, disk {(after.disk - before.disk) / MIB:.0f} MiB,"
        f" server {before.server / MIB:.0f} -> {after.server / MIB:.0f} MiB,"
        f" nginx {before.nginx / MIB:.0f} -> {after.nginx / MIB:.0f} MiB"
    )


def assert_little_is_used(before, after, puts):
    """Check that notes (and keys), disk and memory in use grew by no more than the limits allow."""
    assert after.notes - before.notes <= puts
    assert after.disk - before.disk <= puts * NOTE_ON_DISK + 16 * MIB
    assert after.server - before.server < 150 * MIB
    assert after.nginx < 256 * MIB


def puts_within(seconds, share):
    return share * (POST_RATE * seconds + POST_BURST) + PROBES


def besiege(name, service, nginx, *acts, readers, share):
    """Let strangers do all of these acts while readers come, who do not notice; little is used up.

    Args:
        readers: the addresses that they come from.
        share: of an address's budget of puts, what the strangers may use.

    Returns:
        The strangers, and for how many seconds they were there.
    """
    before, start = Use(service, nginx), time.monotonic()
    with Stranger(*acts) as stranger:
        failures = failed_readers(nginx, itertools.cycle(readers))
    after, seconds = Use(service, nginx), time.monotonic() - start
    report(name, before, after, stranger, seconds)
    assert failures == []
    assert_little_is_used(before, after, puts_within(seconds, share))
    return stranger, seconds


def test_one_address(service, start_nginx):
    """It holds connections, drips bodies, and asks for everything as often as it can."""
    nginx = start_nginx([service])
    source = "127.0.0.2"
    besiege(
        "one address",
        service,
        nginx,
        holding(nginx, source),
        dripping(nginx, source),
        asking(nginx, "POST", "/post", {"message": LONGEST}, source=source),
        asking(nginx, "GET", random_key, source=source),
        asking(nginx, "POST", lambda: random_key() + "/reveal", {"token": "0" * 24}, source=source),
        asking(nginx, "GET", "/static/favicon.svg", source=source),
        readers=NEIGHBOURS,
        share=1,
    )


def test_one_48(service, start_nginx):
    """Each of its requests comes from another address of the network."""
    nginx = start_nginx([service], TLS="off", BALANCERS="127.0.0.1/32")

    def forwarded():
        return f"2001:db8:77:{random.getrandbits(16):x}::{random.getrandbits(16):x}"

    besiege(
        "one /48",
        service,
        nginx,
        asking(nginx, "POST", "/post", {"message": LONGEST}, forwarded=forwarded),
        asking(nginx, "GET", random_key, forwarded=forwarded),
        asking(nginx, "POST", lambda: random_key() + "/reveal", {"token": "0" * 24}, forwarded=forwarded),
        asking(nginx, "GET", "/static/favicon.svg", forwarded=forwarded),
        readers=OTHERS,
        share=SHARE_OF_A_48,
    )


def test_a_stolen_link(service, start_nginx):
    """Its thief guesses the passphrase without pause; others read, and the note stays closed and whole."""
    nginx = start_nginx([service])
    source = "127.0.0.2"
    key, token = nginx.post_note(passphrase="tiger")
    stranger, seconds = besiege(
        "a stolen link",
        service,
        nginx,
        asking(nginx, "POST", f"/{key}/reveal", {"token": token, "passphrase": "lion"}, source=source),
        asking(nginx, "POST", f"/{key}/status", {"token": token}, source=source),
        asking(nginx, "GET", f"/{key}", source=source),
        readers=NEIGHBOURS,
        share=0,
    )
    with contextlib.closing(Client(nginx)) as owner:
        status = json.loads(owner.ask("POST", f"/{key}/status", {"token": token})[1])
    assert stranger.answers.keys() <= {200, 403, 429, 503}  # 503: two stretch at a time for an address
    delays = max(0, int(seconds / 60).bit_length())  # after ten tries, one after 1, 2, 4 … minutes
    assert (status["status"], status["wrong_passphrases"] <= 10 + delays) == ("unread", True)
