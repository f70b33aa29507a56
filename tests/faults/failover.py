"""The failover drill: a primary and its synchronous standby, at one address that changes its host.

It does what RDS does for a Multi-AZ database: what was committed is on both, the primary dies, the
standby is promoted, and the name that servers use means the other one from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.asking import fetch
from tests.faults.load import Load
from tests.faults.proxy import Proxy
from tests.faults.stack import Cluster, ServerProcess

SYNCHRONOUS = {"synchronous_standby_names": "*", "synchronous_commit": "on"}


class Pair:
    """A primary, and a standby without which nothing is committed."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.primary = Cluster(folder / "primary", programs)
        self.standby = Cluster(folder / "standby", programs)

    def start(self) -> None:
        self.primary.create()
        self.primary.start()
        self.primary.create_msg_db()
        self._copy(self.primary, self.standby)

    def _copy(self, primary: Cluster, standby: Cluster) -> None:
        """Make a standby of a running primary, and have the primary wait for it from now on."""
        standby.run(
            "pg_basebackup",
            f"--dbname={primary.url('postgres')}",
            f"--pgdata={standby.data}",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "--no-sync",
        )
        standby.start()
        primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 30
        while primary.execute("SELECT sync_state FROM pg_stat_replication") != [("sync",)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def on_standby(self, sql: str) -> list[tuple[object, ...]]:
        """What the standby answers from all that is on its disk by now, which it may not have replayed yet."""
        ((received,),) = self.standby.execute("SELECT pg_last_wal_receive_lsn()")
        deadline = time.monotonic() + 30
        while self.standby.execute(f"SELECT pg_last_wal_replay_lsn() >= '{received}'") != [(True,)]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return self.standby.execute(sql, "msg_db")

    def promote(self) -> None:
        """Let the standby be the database, alone."""
        self.standby.execute("SELECT pg_promote(true, 30)")
        self.standby.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
        self.standby.execute("SELECT pg_reload_conf()")

    def stop(self) -> None:
        for cluster in (self.standby, self.primary):
            cluster.end()


@contextlib.contextmanager
def pair(folder: Path, programs: Path) -> Iterator[Pair]:
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    made = Pair(folder, programs)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@dataclasses.dataclass
class Story:
    """What an operator sees of a failover; seconds from the death of the primary."""

    promoted: float = 0.0
    first_put: float = 0.0
    unready: list[tuple[float, bool]] = dataclasses.field(default_factory=list)  # when /readyz changed
    detail: list[str] = dataclasses.field(default_factory=list)

    @property
    def refused_seconds(self) -> float:
        """From the primary's death to the first note that could be put."""
        return self.first_put


async def fail_over(pair: Pair, proxy: Proxy, server: ServerProcess, load: Load, detection: float) -> Story:
    """Kill the primary, promote the standby, move the address, and watch.

    Args:
        detection: seconds until somebody notices that the primary is dead; it has shown in /readyz by then.
    """
    start = time.monotonic()
    story = Story()

    def since() -> float:
        return time.monotonic() - start

    async def watch() -> None:
        before = None
        while True:
            status, body = await fetch(server.port, "GET", "/readyz")
            ready = status == 200
            if ready != before:
                story.unready.append((since(), ready))
                story.detail.append(f"{since():5.1f} s  /readyz {status} {json.loads(body)}")
                before = ready
            await asyncio.sleep(0.05)

    proxy.refusing = True
    await asyncio.to_thread(pair.primary.kill)
    watching = asyncio.create_task(watch())
    await asyncio.sleep(detection)
    while not story.unready or story.unready[-1][1]:
        await asyncio.sleep(0.02)
    await asyncio.to_thread(pair.promote)
    proxy.upstream = ("127.0.0.1", pair.standby.port)
    proxy.refusing = False
    proxy.cut()
    story.promoted = since()
    while not any(
        call.kind == "put" and call.status == 201 and call.end > start + story.promoted
        for call in load.history.calls[-500:]
    ):
        await asyncio.sleep(0.02)
    story.first_put = since()
    while not story.unready or not story.unready[-1][1]:
        await asyncio.sleep(0.02)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    return story
