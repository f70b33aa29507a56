"""What is measured: notes sealed by the client or by the server, put and revealed.

A reveal that is acknowledged names its reader: the sealed bytes are kept until the reader has them.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable

import psycopg2

from server import sealing
from server.keys import ALPHABET
from tests.bench.load import Job, post

MESSAGE = ("The quick brown fox jumps over the lazy dog. " * 23)[:1000]
TOKEN = "0i9FCcjCuydimGFKFQzyckpc"  # of every note that the server opens
KEYS = sealing.derive_keys(TOKEN)
# Of every note that a client has sealed.
LINK_PROOF, REVEAL_PROOF = bytes(32), bytes(31) + b"r"
READER = bytes(31) + b"n"

# Sealed by a client, as far as the server can know; each is different, since its key is in it.
_LENGTH = -(-sealing.sealed_length(len(MESSAGE)) * 4 // 3)
HEAD = sealing.to_text(sealing.VERSION + bytes(11))
TAIL = sealing.to_text(bytes(range(256)) * 8)[: _LENGTH - len(HEAD) - 6] + "A"

KINDS = tuple(f"{what}, sealed by the {who}" for who in ("client", "server") for what in ("put", "reveal"))
ACKNOWLEDGED = "reveal and acknowledge, sealed by the client"


def sealed_under(key: str) -> str:
    """What the client has sealed, in base64url."""
    return f"{HEAD}{key}{TAIL}"


def key_of(number: int) -> str:
    """Different keys for different numbers, in no order, as the key table hands them out."""
    scattered = number * 387_420_489
    return "".join(ALPHABET[scattered >> shift & 63] for shift in (24, 18, 12, 6, 0))


# The same in SQL, which is how millions of notes get into the table.
KEY_OF = " || ".join(
    f"substr('{ALPHABET}', (((number::bigint * 387420489) >> {shift}) & 63)::integer + 1, 1)"
    for shift in (24, 18, 12, 6, 0)
)
FILL = f"""
INSERT INTO note (key, link_verifier, reveal_verifier, sealed, has_passphrase, expires_at)
SELECT key, %s, %s,
    CASE WHEN %s::bytea IS NULL THEN decode(translate(%s || key || %s, '-_', '+/'), 'base64') ELSE %s END,
    false, now() + %s * interval '1 second'
FROM generate_series(%s, %s) AS number, LATERAL (SELECT {KEY_OF}) AS named (key)
ON CONFLICT (key) DO UPDATE  -- a put may have been given one of these keys
    SET link_verifier = excluded.link_verifier, reveal_verifier = excluded.reveal_verifier,
        sealed = excluded.sealed, expires_at = excluded.expires_at
"""


def job_of(kind: str, numbers: Iterable[int] = ()) -> Job:
    """The requests of wrk; for a reveal, for the notes that `fill` has put under these numbers."""
    match kind.split(", sealed by the "):
        case ["put", "client"]:
            body = {
                "sealed": sealed_under("abcde"),
                "link_verifier": sealing.to_text(sealing.verifier_of(LINK_PROOF)),
                "reveal_verifier": sealing.to_text(sealing.verifier_of(REVEAL_PROOF)),
                "lifetime": 3600,
            }
            return Job(*post("/post", json.dumps(body)), 201, '"url": "http')
        case ["put", "server"]:
            return Job(
                *post("/post", json.dumps({"message": MESSAGE, "lifetime": 3600})), 201, '"url": "http'
            )
        case ["reveal" | "reveal and acknowledge" as what, "client"]:
            body = {
                "link_proof": sealing.to_text(LINK_PROOF),
                "reveal_proof": sealing.to_text(REVEAL_PROOF),
            }
            answer_head, answer_tail = f'{{"sealed": "{HEAD}', f'{TAIL}"}}\n'
            ids = [key_of(number) for number in numbers]
            if what == "reveal":
                return Job(*post("/*/reveal", json.dumps(body)), 200, answer_head, answer_tail, True, ids)
            reader = {"reader": sealing.to_text(READER)}
            request = post("/*/reveal", json.dumps(body | reader))
            received = post("/*/received", json.dumps(reader))
            return Job(*request, 200, answer_head, answer_tail, True, ids, received)
        case _:
            request = post("/*/reveal", json.dumps({"token": TOKEN}))
            answer = json.dumps({"message": MESSAGE}) + "\n"
            return Job(*request, 200, answer, ids=[key_of(number) for number in numbers])


def fill(url: str, kind: str, start: int, end: int, lifetime: int = 3600) -> None:
    """Put notes from number `start` up to `end` straight into the table, for reveals of this kind."""
    verifiers: tuple[bytes, bytes] = sealing.verifier_of(LINK_PROOF), sealing.verifier_of(REVEAL_PROOF)
    sealed = None
    if kind.endswith("server"):
        verifiers, sealed = (KEYS.link_verifier, KEYS.reveal_verifier), sealing.seal(KEYS, MESSAGE)
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(FILL, (*verifiers, sealed, HEAD, TAIL, sealed, lifetime, start, end - 1))


def empty(url: str) -> None:
    """Begin with an empty table."""
    _alone(url, "TRUNCATE note, ending, delivery")


def purge(url: str) -> None:
    """Remove at once what has expired."""
    _alone(url, "DELETE FROM note WHERE expires_at <= now()")


def settle(url: str) -> None:
    """Let the database do now what it would otherwise do during the measurement."""
    _alone(url, "VACUUM ANALYZE note, ending, delivery", "CHECKPOINT")


def wait_until_idle(url: str) -> None:
    """Wait until no request of the last run is in progress: wrk hangs up in the middle."""
    idle_looks = 0
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        while idle_looks < IDLE_LOOKS:
            cursor.execute(BUSY)
            idle_looks = 0 if cursor.fetchone() != (0,) else idle_looks + 1
            time.sleep(0.02)


IDLE_LOOKS = 5
BUSY = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'note-whisperer' AND state <> 'idle'"


def count(url: str) -> int:
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM note")
        return int(cursor.fetchone()[0])  # type: ignore[index]  # an aggregate is always one row


def _alone(url: str, *statements: str) -> None:
    with contextlib.closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
