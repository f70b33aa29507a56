"""What a benchmark compares with: `python -m tests.bench.reference full|empty|constant [tornado]`.

`full` is the server as it is; `empty` has a store that stores nothing; `constant` is a bare Tornado handler
that always answers the same. With `tornado`, Tornado's own HTTP server takes the place of our transport.
"""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime

import tornado.web

from server import logs, process, sealing
from server.httpd.transport import Limits, Server
from server.notes import Note, Notes, Placed
from server.settings import Settings
from tests.bench import workload
from tests.server.httpd.oracle import TornadoServer


class EmptyNotes(Notes):
    """Takes every note and forgets it, finds one under every key, and never waits for anything."""

    async def put(self, note: Note) -> Placed:
        return Placed(await self._keys.take(), datetime.now(UTC) + note.lifetime)

    async def reveal(
        self,
        key: str,
        link_verifier: bytes,
        reveal_verifier: bytes,
        without_passphrase: bool = False,
        reader: bytes | None = None,
    ) -> bytes | None:
        by_server = link_verifier == workload.KEYS.link_verifier
        return SEALED if by_server else sealing.from_text(workload.sealed_under(key))

    async def received(self, key: str, reader: bytes, mark: bytes | None) -> bool:
        return True


SEALED = sealing.seal(workload.KEYS, workload.MESSAGE)


class Constant(tornado.web.RequestHandler):
    def get(self) -> None:
        self.finish("constant")


async def _constant(settings: Settings, transport: type[Server] | type[TornadoServer]) -> None:
    application = tornado.web.Application([("/", Constant)], log_function=lambda handler: None)
    server = transport(application, Limits(settings.max_body_bytes))
    await server.listen(settings.port, settings.host)
    await asyncio.Event().wait()


if __name__ == "__main__":
    settings = Settings.from_env(os.environ)
    logs.set_up(settings.log_format, settings.log_level)
    transport = TornadoServer if sys.argv[2:] == ["tornado"] else Server
    if sys.argv[1] == "constant":
        asyncio.run(_constant(settings, transport))
    else:
        process.Server = transport  # type: ignore[attr-defined, assignment]  # takes the place of the class
        if sys.argv[1] == "empty":
            process.Notes = EmptyNotes  # type: ignore[attr-defined]  # likewise
        asyncio.run(process.serve(settings))
