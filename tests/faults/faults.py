"""The faults: each is done once, and undone, while the load goes on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.faults.history import History, Outcome
from tests.faults.proxy import Break, Moment, Proxy, Trap
from tests.faults.stack import Cluster, ServerProcess

Fault = Callable[[], Awaitable[None]]

BREAKABLE = (
    *("put", "reveal", "past", "commit", "receipts"),
    *("begin", "chunks", "put with files", "fetch", "received files"),
)


class Faults:
    """All kinds of faults, done to one database behind a proxy and to the servers before it."""

    def __init__(
        self,
        cluster: Cluster,
        proxy: Proxy,
        servers: list[ServerProcess],
        history: History,
        seed: int,
        frozen_seconds: float,
    ) -> None:
        self.cluster, self.proxy, self.servers, self.history = cluster, proxy, servers, history
        self.frozen_seconds = frozen_seconds
        self.random = random.Random(seed)
        self.done: Counter[str] = Counter()

    async def do(self, name: str) -> None:
        """Do one fault by its name, and undo it."""
        await getattr(self, name)()
        self.done[name] += 1

    async def kill_a_backend(self) -> None:
        """The postmaster ends all sessions, and recovers."""
        await self._signal_a_backend(signal.SIGKILL)
        await asyncio.to_thread(self.cluster.wait_until_up)

    async def kill_the_database(self) -> None:
        await asyncio.to_thread(self.cluster.kill)
        await asyncio.sleep(self.random.uniform(0, 0.5))
        await asyncio.to_thread(self.cluster.start)

    async def restart_the_database_at_once(self) -> None:
        """An immediate shutdown, and a restart that recovers."""
        await asyncio.to_thread(self.cluster.stop, signal.SIGQUIT)
        await asyncio.to_thread(self.cluster.start)

    async def freeze_the_database(self) -> None:
        self.cluster.freeze()
        await asyncio.sleep(self.random.uniform(0.3, 1) * self.frozen_seconds)
        self.cluster.thaw()

    async def freeze_a_backend(self) -> None:
        pid = await self._signal_a_backend(signal.SIGSTOP)
        await asyncio.sleep(self.random.uniform(0.3, 1) * self.frozen_seconds)
        os.kill(pid, signal.SIGCONT)

    async def _signal_a_backend(self, number: int) -> int:
        while True:
            pid = self.random.choice(await asyncio.to_thread(self.cluster.backends))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
                return pid

    async def break_conversations(self) -> None:
        """One statement after the other, at any moment, in any way."""
        end = asyncio.get_running_loop().time() + self.frozen_seconds

        def choose(statement: str) -> Trap | None:
            if statement not in BREAKABLE or self.random.random() > 0.1:
                return None
            return Trap(statement, self.random.choice(list(Moment)), self.random.choice(list(Break)))

        self.proxy.choose = choose
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
        self.proxy.choose = None

    async def cut_all_connections(self) -> None:
        self.proxy.cut()

    async def silence_the_network(self) -> None:
        """Nothing passes for a while; nobody is told."""
        self.proxy.silence()
        await asyncio.sleep(self.random.uniform(0.3, 1) * self.frozen_seconds)
        self.proxy.heal()

    async def kill_a_server(self) -> None:
        await self._restart(lambda server: server.kill())

    async def terminate_a_server(self) -> None:
        await self._restart(lambda server: server.terminate())

    async def _restart(self, end: Callable[[ServerProcess], object]) -> None:
        server = self.random.choice(self.servers)
        await asyncio.to_thread(end, server)
        server.start()
        await asyncio.to_thread(server.wait_until_ready)

    async def jump_the_clock(self) -> None:
        """An hour forward or back, and later on back again."""
        self.cluster.set_clock(self.random.choice((-3600, 3600)))
        await asyncio.sleep(self.frozen_seconds)
        self.cluster.set_clock(0)
        self.history.clock_changes += 2
        await asyncio.sleep(self.frozen_seconds)

    async def fill_the_disk(self) -> None:
        """Until nothing can be written and something that a writer puts is refused for it; then room is made.

        Notes may still fit where all writers already wait for room for the chunks of files.
        """
        calls_before = len(self.history.calls)
        ballast = self.cluster.folder / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass
        await asyncio.sleep(self.frozen_seconds)
        while not any(
            call.kind in ("put", "chunks") and call.outcome is Outcome.REFUSED
            for call in self.history.calls[calls_before:]
        ):
            await asyncio.sleep(0.05)
        ballast.unlink()
        await asyncio.sleep(0.1)
        assert self.cluster.process
        try:  # a database that cannot write its log stops; whoever keeps it running starts it again
            await asyncio.to_thread(self.cluster.wait_until_up, 3)
        except AssertionError:
            await asyncio.to_thread(self.cluster.stop, signal.SIGQUIT)
            await asyncio.to_thread(self.cluster.start)
