"""Messages, tokens, passphrases and proofs are on no disk, in no log, and in no core dump."""

import base64
import contextlib
import json
import resource
import secrets
import time

import psycopg2
import pytest

from server import sealing
from tests.faults.asking import fetch

pytestmark = pytest.mark.gen_test(timeout=120)


def written_ways(secret):
    """The bytes that a secret may have on a disk."""
    raw = secret.encode() if isinstance(secret, str) else secret
    # Not from the first byte on: base64 of a part of a longer text is found from a multiple of three.
    parts = [base64.b64encode(raw[offset:]).rstrip(b"=")[:-2] for offset in range(3)]
    return [
        raw,
        raw.hex().encode(),
        raw.decode("latin1").encode("utf-16-le"),
        *parts,
        *(part.replace(b"+", b"-").replace(b"/", b"_") for part in parts),
    ]


def written_since(start, file):
    if not file.is_file():
        return False
    with contextlib.suppress(FileNotFoundError):  # the database removes files of its own
        return file.stat().st_mtime > start - 2
    return False


def found_in(files, known):
    """Which of the known secrets lie in which files."""
    ways = [(name, way) for name, secret in known.items() for way in written_ways(secret)]
    found = set()
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            data = file.read_bytes()
            found |= {(name, file.name) for name, way in ways if way in data}
    return found


@contextlib.contextmanager
def statements_time_out(url):
    """Nobody else gets at the notes: the database ends what is asked of it, and logs that it did."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE note")
        yield


async def a_session(server, url):
    """All that clients do, well and badly; gives the secrets that went through the server."""
    known = {}
    paths = []
    for number, fields in enumerate([{}, {"passphrase": "pass " + secrets.token_hex(12)}, {}]):
        message = "message " + secrets.token_hex(20)
        status, body = await fetch(server.port, "POST", "/post", {"message": message, **fields})
        assert status == 201
        path = "/" + json.loads(body)["url"].split("/", 3)[3]
        token = path[7:]
        known |= {f"message {number}": message, f"token {number}": token, f"secret {number}": token[:22]}
        known[f"link proof {number}"] = sealing.link_proof_of(token)
        if not fields:
            keys = sealing.derive_keys(token)
            known |= {f"reveal proof {number}": keys.reveal_proof, f"seal key {number}": keys.seal_key}
        known |= {f"{name} {number}": value for name, value in fields.items()}
        paths.append((path, fields))
    with statements_time_out(url):
        refused = {"message": "message " + secrets.token_hex(20)}
        known["refused message"] = refused["message"]
        assert (await fetch(server.port, "POST", "/post", refused))[0] == 503
        assert (await fetch(server.port, "GET", paths[0][0]))[0] == 503
    for path, fields in paths[:2]:
        key, token = path[1:].split("/")
        await fetch(server.port, "GET", path[:-1])
        await fetch(server.port, "GET", f"{path}?{known['message 0']}")
        await fetch(server.port, "POST", f"/{key}/reveal", {"token": token, "passphrase": "wrong"})
        await fetch(server.port, "POST", f"/{key}/reveal", {"token": token, "unknown": known["message 1"]})
        await fetch(server.port, "PUT", f"/{known['token 1']}/{token}")
        await fetch(server.port, "POST", f"/{key}/status", {"token": token})
        reader = secrets.token_urlsafe(32)
        known[f"reader of {key}"] = reader
        for _ in range(2):
            await fetch(server.port, "POST", f"/{key}/reveal", {"token": token, "reader": reader, **fields})
        await fetch(server.port, "POST", f"/{key}/received", {"reader": reader})
    return known


async def test_after_a_session_no_disk_and_no_log_knows_a_secret(server, postgres, msg_db_url):
    """Database files, write-ahead log and logs are searched for all that went through the server."""
    server.terminate()
    server.environment["LOG_LEVEL"] = "debug"
    server.start()
    server.wait_until_ready()

    start = time.time()
    known = await a_session(server, msg_db_url)
    server.terminate()

    with contextlib.closing(psycopg2.connect(msg_db_url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("CHECKPOINT")
            cursor.execute(
                "SELECT link_verifier, (SELECT oid FROM pg_database WHERE datname = current_database()) FROM note"
            )
            ((verifier, database),) = cursor.fetchall()
    data = postgres.socket_folder.parent
    folders = [data / "postgres" / "base" / str(database), data / "postgres" / "pg_wal"]
    files = [file for folder in folders for file in folder.rglob("*") if written_since(start, file)]
    logs = [server.log, data / "postgres.log"]
    assert found_in([*files, *logs], known) == set()
    # The search itself works: what may be there is found, in the table and in the write-ahead log.
    places = {name for _, name in found_in(files, {"verifier": bytes(verifier)})}
    assert any(len(name) == 24 for name in places) and any(
        name.isdigit() and len(name) < 10 for name in places
    )
    assert "STATEMENT" not in (data / "postgres.log").read_text()
    assert "/KEY/TOKEN" in server.log.read_text()


async def test_no_core_is_dumped(server):
    """The limit of the server process is zero."""
    assert resource.prlimit(server.process.pid, resource.RLIMIT_CORE) == (0, 0)
