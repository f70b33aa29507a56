"""Takes each piece of the fault handling out of a copy of the server, and sees the tests notice.

By hand: `make faults-mutants`. A mutant that the tests pass is a piece that nothing holds in place.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.server_process import ROOT

NOTES = "server/test_notes.py server/test_notes_tries.py server/test_notes_deliveries.py server/test_purge.py"
LOAD = "faults/test_load.py"
COPIED = ("server", "kgs", "templates", "static", "tests", "setup.cfg")


@dataclasses.dataclass(frozen=True)
class Mutant:
    """What is taken out, where, and the test files that notice."""

    name: str
    file: str
    old: str
    new: str
    test: str

    def of(self, text: str) -> str:
        """The source without the piece; ValueError unless that stands there once."""
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.file} does not contain it once")
        return text.replace(self.old, self.new)


MUTANTS = (
    Mutant(
        "receipts: a lost COMMIT is taken for one that did not happen",
        "notes.py",
        "attempts = [unconfirmed[id_] for id_ in unconfirmed if (id_,) in found] + attempts",
        "pass",
        NOTES,
    ),
    Mutant(
        "receipts: what was in memory is shown without asking for its receipt",
        "notes.py",
        " if (id_,) in found]",
        "]",
        NOTES,
    ),
    Mutant(
        "receipts: a lost answer to COMMIT is the end",
        "notes.py",
        "lambda: self._max_commit_wait if unconfirmed else 0",
        "lambda: 0 if not unconfirmed else -1e9",
        "faults/test_conversation.py",
    ),
    Mutant(
        "ordinals: a row goes to whoever asked for its key first",
        "notes.py",
        "SELECT guess.ordinal,",
        "SELECT (SELECT min(ordinal) FROM requested WHERE requested.key = guess.key),",
        NOTES,
    ),
    Mutant(
        "idle connections: one in a transaction goes back to the pool",
        "database/pool.py",
        "if not connection.idle:",
        "if connection.closed:",
        "server/database/test_pool.py",
    ),
    Mutant(
        "lock order: rows are locked as they were asked for",
        "notes.py",
        "ORDER BY key, ordinal\n            ) AS requested, LATERAL",
        "ORDER BY ordinal\n            ) AS requested, LATERAL",
        "faults/test_locks.py",
    ),
    Mutant(
        "COMMIT: an answer that is not COMMIT is taken for one",
        "notes.py",
        'if connection.status != "COMMIT":',
        "if False:",
        NOTES,
    ),
    Mutant(
        "standby: a COMMIT that did not wait for it is taken for safe",
        "database/connection.py",
        "if self.connection.notices:",
        "if False:",
        "faults/test_failover.py",
    ),
    Mutant(
        "standby: a fence or keys that it may not have are taken for safe",
        "../kgs/key_db.py",
        "if connection.notices:",
        "if False:",
        "faults/test_failover.py",
    ),
    Mutant(
        "standby: a repeated put with files does not wait for it",
        "files.py",
        """UPDATE note
        SET key = key
        WHERE files = decode($1, 'base64')
            AND link_verifier = decode($2, 'base64')
            AND sealed = decode($3, 'base64')
        RETURNING key, expires_at
""",
        "SELECT key, expires_at FROM note WHERE files = decode($1, 'base64')",
        "faults/test_failover.py",
    ),
    Mutant(
        "standby: a repeated destroy does not wait for it",
        "notes.py",
        "return status is not None and bool(",
        "return status is not None or bool(",
        "faults/test_failover.py",
    ),
    Mutant(
        "files: an upload begins again after its note was put",
        "files.py",
        '"ROLLBACK" if taken else "COMMIT"',
        '"COMMIT"',
        "server/test_files.py",
    ),
    Mutant(
        "files: a purge is over before chunks that are being stored are there",
        "files.py",
        "WHERE id = %s AND at > now() - interval '1 hour'\n        FOR UPDATE",
        "WHERE id = %s AND at > now() - interval '1 hour'\n        FOR KEY SHARE",
        "server/test_files.py",
    ),
    Mutant(
        "files: an hour of the database's clock alone",
        "revealed_files.py",
        "least(clock_timestamp(), %s::timestamptz) - at < interval '1 hour'",
        "clock_timestamp() - at < interval '1 hour' AND %s IS NOT NULL",
        "server/test_files.py",
    ),
    Mutant(
        "files: a repeated put is told that there is no upload",
        "files.py",
        "WHERE files = decode($1, 'base64')\n            AND link_verifier",
        "WHERE false AND files = decode($1, 'base64')\n            AND link_verifier",
        LOAD,
    ),
    Mutant(
        "files: a note is put without its first chunk",
        "files.py",
        "= (file_bytes - 1) / {CHUNK_BYTES} + 1",
        "<= (file_bytes - 1) / {CHUNK_BYTES} + 1",
        LOAD,
    ),
    Mutant(
        "files: chunks come back in another order",
        "revealed_files.py",
        "ORDER BY number",
        "ORDER BY number DESC",
        LOAD,
    ),
    Mutant(
        "files: every chunk is the first one",
        "revealed_files.py",
        "AND number >= %s",
        "AND number >= 0 * %s",
        LOAD,
    ),
    Mutant(
        "files: a reveal does not hand the chunks over",
        "notes.py",
        "deleted.sealed, deleted.files\n            FROM deleted",
        "deleted.sealed, NULL::bytea\n            FROM deleted",
        LOAD,
    ),
    Mutant(
        "files: the acknowledgement of the text takes the chunks",
        "messages.py",
        "        if files:\n            await self._notes.revealed_files.received",
        "        if True:\n            await self._notes.revealed_files.received",
        LOAD,
    ),
    Mutant(
        "files: after the acknowledgement, chunks stay",
        "revealed_files.py",
        "WHERE files = (SELECT files FROM delivery WHERE id = decode($1, 'base64'))",
        "WHERE false AND files = (SELECT files FROM delivery WHERE id = decode($1, 'base64'))",
        LOAD,
    ),
    Mutant(
        "files: a destroyed note leaves its chunks",
        "notes.py",
        "WHERE files = (SELECT files FROM deleted)",
        "WHERE false",
        LOAD,
    ),
    Mutant(
        "files: an expired note leaves its chunks",
        "purge.py",
        "WHERE files = ANY (ARRAY(SELECT files FROM deleted WHERE files IS NOT NULL))",
        "WHERE false",
        LOAD,
    ),
    Mutant(
        "files: a delivery whose hour is over leaves its chunks",
        "purge.py",
        "WHERE files IN (SELECT files FROM deleted)",
        "WHERE false",
        LOAD,
    ),
    Mutant(
        "files: an upload that was left leaves its chunks",
        "purge.py",
        "DELETE FROM chunk\n        WHERE files IN (SELECT id FROM deleted)",
        "DELETE FROM chunk\n        WHERE false",
        LOAD,
    ),
    Mutant(
        "files: a cancelled upload leaves its chunks",
        "files.py",
        "WHERE files = (SELECT id FROM cancelled)",
        "WHERE false",
        LOAD,
    ),
    Mutant(
        "readers who leave: their group goes on",
        "notes.py",
        "if not unconfirmed and any(group[ordinal - 1].hung_up for ordinal in revealed):",
        "if False:",
        "faults/test_readers_who_leave.py",
    ),
    Mutant(
        "readers who leave: nobody notices",
        "httpd/handler.py",
        "self._task.cancel()",
        "pass",
        "faults/test_readers_who_leave.py",
    ),
    Mutant(
        "deadlines: an attempt takes as long as it takes",
        "notes.py",
        "attempt(min(end, time.monotonic() + 3 * self._database.timeout))",
        "attempt(end + 1e9)",
        "faults/test_deadlines.py",
    ),
    Mutant(
        "names: libpq asks the name service itself",
        "database/connection.py",
        "psycopg2.connect(await resolved(self.dsn), async_=True)",
        "psycopg2.connect(self.dsn, async_=True)",
        "faults/test_deadlines.py",
    ),
    Mutant(
        "retrying a put: the second one is told that the key is taken",
        "notes.py",
        "WHERE note.link_verifier = excluded.link_verifier AND note.sealed = excluded.sealed",
        "WHERE false",
        "faults/test_conversation.py",
    ),
    Mutant(
        "clock: deliveries and endings are purged by the database's clock alone",
        "purge.py",
        "return min(now, self.expected_now())",
        "return max(now, self.expected_now())",
        NOTES,
    ),
    Mutant(
        "overload: a process takes as many clients as come",
        "httpd/transport.py",
        "if len(self.server.connections) > self.server.limits.connections:",
        "if False:",
        "faults/test_overload.py",
    ),
    Mutant(
        "frozen servers: the database keeps their rows locked",
        "database/dsn.py",
        '"-c tcp_user_timeout=10000",',
        '"",',
        "faults/test_locks.py",
    ),
    Mutant(
        "receipts: of several attempts the last one decides",
        "notes.py",
        """outcomes.setdefault(ordinal, outcome)
    return outcomes""",
        """outcomes[ordinal] = outcome
    return outcomes""",
        NOTES,
    ),
    Mutant(
        "budget: wrong guesses are counted nowhere",
        "notes.py",
        "WHERE key = ANY (ARRAY(SELECT key FROM wrong))",
        "WHERE false",
        NOTES,
    ),
    Mutant(
        "budget: a group has as many tries as members",
        "notes.py",
        "WHERE fits AND needs IS NULL AND number <= allowed",
        "WHERE fits AND needs IS NULL AND allowed > 0",
        NOTES,
    ),
    Mutant(
        "budget: after ten tries there is no delay",
        "notes.py",
        "WHEN next_try_at <= now() THEN 1",
        "WHEN true THEN 1",
        NOTES,
    ),
    Mutant(
        "budget: every delay is a minute",
        "notes.py",
        "least(2 ^ least(tries - 10, 6), 60)",
        "1",
        NOTES,
    ),
    Mutant(
        "budget: a missing passphrase is a guess",
        "notes.py",
        "WHERE needs IS NULL AND number <= allowed AND key NOT IN",
        "WHERE number <= allowed AND key NOT IN",
        NOTES,
    ),
    Mutant(
        "guesses: the last one of a group is tried first",
        "notes.py",
        "OVER (PARTITION BY key ORDER BY ordinal) AS number",
        "OVER (PARTITION BY key ORDER BY ordinal DESC) AS number",
        NOTES,
    ),
    Mutant(
        "link proof: a row is locked for whoever knows its key",
        "notes.py",
        """WHERE note.key = requested.key AND note.link_verifier = requested.link_verifier
                FOR UPDATE""",
        """WHERE note.key = requested.key
                FOR UPDATE""",
        NOTES,
    ),
    Mutant(
        "delivery: every reader is the same",
        "notes.py",
        'hashlib.sha256(key.encode("ascii") + reader)',
        'hashlib.sha256(key.encode("ascii"))',
        NOTES,
    ),
    Mutant(
        "delivery: a nonce is good for any note",
        "notes.py",
        'hashlib.sha256(key.encode("ascii") + reader)',
        "hashlib.sha256(reader)",
        NOTES,
    ),
    Mutant(
        "delivery: the same reader in one group is another one",
        "notes.py",
        "OR fits AND guess.delivery = matched.delivery THEN 'revealed'",
        "THEN 'revealed'",
        NOTES,
    ),
    Mutant(
        "delivery: there is none",
        "notes.py",
        "WHERE matched.delivery IS NOT NULL",
        "WHERE false",
        "faults/test_conversation.py",
    ),
    Mutant(
        "delivery: it lasts for ever",
        "notes.py",
        "AND least(clock_timestamp(), $4) - at < interval '60 seconds'",
        "AND $4 IS NOT NULL",
        NOTES,
    ),
    Mutant(
        "delivery: nobody removes its bytes",
        "purge.py",
        "WHERE sealed IS NOT NULL\n        AND at >=",
        "WHERE false\n        AND at >=",
        NOTES,
    ),
    Mutant(
        "acknowledgement: the bytes stay",
        "notes.py",
        """SET sealed = NULL
            WHERE id = ANY""",
        """SET sealed = sealed
            WHERE id = ANY""",
        NOTES,
    ),
    Mutant(
        "acknowledgement: a second mark takes the place of the first",
        "notes.py",
        """WHERE mark IS NULL
                AND key = ANY""",
        "WHERE key = ANY",
        NOTES,
    ),
    Mutant(
        "acknowledgement: a passphrase is forgotten before a retry",
        "messages.py",
        "if stretched or not claim.passphrase:",
        "if True:",
        "server/test_messages.py",
    ),
    Mutant(
        "endings: a reading leaves none",
        "notes.py",
        "SELECT key, link_verifier, 'read' FROM deleted",
        "SELECT key, link_verifier, 'read' FROM deleted WHERE false",
        NOTES,
    ),
    Mutant(
        "endings: the purge leaves none",
        "purge.py",
        "SELECT key, link_verifier, 'expired', expires_at FROM deleted",
        "SELECT key, link_verifier, 'expired', expires_at FROM deleted WHERE false",
        NOTES,
    ),
    Mutant(
        "delivery: it is shown again without waiting for the standby",
        "notes.py",
        "outcomes.setdefault(ordinal, unhexlify(sealed))\n                        written = True",
        "outcomes.setdefault(ordinal, unhexlify(sealed))",
        "faults/test_failover.py",
    ),
)


def run(names: list[str]) -> Iterator[tuple[Mutant, bool, str]]:
    """Run the tests on each mutant; yields it, whether it was noticed, and what the tests said."""
    for mutant in MUTANTS:
        if names and not any(name in mutant.name for name in names):
            continue
        with tempfile.TemporaryDirectory(prefix="nw-mutant-") as folder:
            for part in COPIED:
                copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
                copy(ROOT / part, Path(folder, part))
            file = Path(folder, "server", mutant.file)
            file.write_text(mutant.of(file.read_text()))
            Path(folder).chmod(0o755)
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pytest",
                    "-q",
                    "-x",
                    *(f"tests/{test}" for test in mutant.test.split()),
                ],
                cwd=folder,
                capture_output=True,
                text=True,
                env=os.environ | {"FAULTS": "long", "PYTHONDONTWRITEBYTECODE": "1"},
                timeout=600,
            )
        failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
        yield mutant, done.returncode in (1, 3), failed[0] if failed else done.stdout[-300:]


if __name__ == "__main__":
    survivors = 0
    for mutant, noticed, words in run(sys.argv[1:]):
        survivors += not noticed
        print(f"{'noticed ' if noticed else 'SURVIVED'}  {mutant.name}\n          {words[:160]}", flush=True)
    sys.exit(1 if survivors else 0)
