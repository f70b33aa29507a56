"""One server process from start to drain: databases, keys, the application and background work."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import psycopg2

from server import linux, logs, metrics, schema
from server.app import make_app
from server.clients import is_trusted
from server.database import Database, Unavailable
from server.httpd.transport import Limits, Server
from server.keys import KeyLeaser, keys_left
from server.messages import Messages
from server.notes import Notes
from server.pages import Pages
from server.posting import Posting
from server.purge import Purge
from server.service import Service
from server.settings import Settings

log = logging.getLogger(__name__)

KEY_DB_CONNECTIONS = 2
GC_THRESHOLD = 10_000  # objects; by default a collection runs every few requests, and finds nothing
KEYS_AHEAD = 2048  # a lease takes a tenth of a second when clients put thousands of notes a second
PURGE_INTERVAL = 20.0
DELIVERY_PURGE_INTERVAL = 5.0  # so delivered bytes are gone 60 to 65 seconds after their reveal
PURGE_SHARE = 0.1  # of the time, at most: purging a million notes at once made puts wait six times as long
KEYS_LEFT_INTERVAL = 60.0
STORED_BYTES_INTERVAL = 5.0
FREE_MEMORY_INTERVAL = 30.0
SCHEMA_INTERVAL = 0.25  # seconds until a database that was unavailable is asked again


class ListenError(RuntimeError):
    """The server cannot listen on a port; the message says why."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        reason = error.strerror or str(error)
        if error.errno is not None and not isinstance(error, socket.gaierror):
            reason = os.strerror(error.errno)  # asyncio wraps it in other words
        super().__init__(f"cannot listen on {host}, port {port}: {reason}")


async def serve(settings: Settings, on_listening: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in progress.

    Raises:
        SchemaError: a database is not at the version that this program needs.
        ListenError: the port is in use, or the host is unknown.
    """
    assert settings.key_db_url and settings.msg_db_url
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(logs.log_unhandled)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    key_db = Database(settings.key_db_url, KEY_DB_CONNECTIONS, settings.db_timeout)
    msg_db = Database(settings.msg_db_url, settings.db_connections, settings.db_timeout)
    keys = KeyLeaser(key_db, KEYS_AHEAD)
    notes = Notes(msg_db, keys, settings.max_sealed_bytes)
    service = Service(settings, key_db, msg_db, keys, Messages(notes), Pages(settings), Posting(settings))
    server = Server(make_app(service), Limits(settings.longest_body_bytes))
    try:
        await server.listen(settings.port, settings.host)
    except OSError as error:
        raise ListenError(settings.host, settings.port, error) from None
    on_listening()

    for what in ("notes", "deliveries"):  # an alarm counts from the start if purging never succeeds
        metrics.LAST_PURGE.labels(what).set_to_current_time()
    background = [
        asyncio.create_task(_check_schemas({schema.KEY_DB: key_db, schema.MSG_DB: msg_db})),
        asyncio.create_task(_every(PURGE_INTERVAL, partial(_purge_notes, notes.purge))),
        asyncio.create_task(_every(DELIVERY_PURGE_INTERVAL, partial(_purge_deliveries, notes.purge))),
        asyncio.create_task(_every(PURGE_INTERVAL, partial(_purge_files, notes.purge))),
        asyncio.create_task(_every(KEYS_LEFT_INTERVAL, partial(_measure_keys_left, key_db))),
        asyncio.create_task(_every(STORED_BYTES_INTERVAL, partial(_measure_stored_bytes, service))),
        asyncio.create_task(_every(FREE_MEMORY_INTERVAL, _return_free_memory)),
        asyncio.create_task(stop.wait()),
    ]
    try:
        await keys.start()
        gc.freeze()  # objects from the start stay for ever: the collector need not check them again and again
        gc.set_threshold(GC_THRESHOLD)
        log.info("serving on %s", settings.public_url)
        while not stop.is_set():
            done, pending = await asyncio.wait(background, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            background = list(pending)
        log.info("stopping: %d requests are in progress", len(service.in_progress))
        await _drain(server, service)
    finally:
        server.stop()
        for task in background:
            task.cancel()
        await keys.stop()
        service.messages.close()
        await key_db.close()
        await msg_db.close()


async def _check_schemas(databases: Mapping[str, Database]) -> None:
    """Check the schema of each database as soon as the database is available."""
    for name, database in databases.items():
        checked = False
        while not checked:
            try:
                await schema.check_pool(database, name)
                checked = True
            except Unavailable as error:
                log.warning("the %s is not available yet: %s", name, error)
                await asyncio.sleep(SCHEMA_INTERVAL)


async def _every(interval: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except (Unavailable, psycopg2.Error) as error:
            log.debug("background work waits for the database: %s", type(error).__name__)
        await asyncio.sleep(interval)


async def _purge_notes(purge: Purge) -> None:
    loop, more = asyncio.get_running_loop(), True
    while more:
        start = loop.time()
        count, more = await purge.notes()
        metrics.NOTES_EXPIRED.inc(count)
        await asyncio.sleep((loop.time() - start) * (1 / PURGE_SHARE - 1))
    metrics.LAST_PURGE.labels("notes").set_to_current_time()


async def _purge_deliveries(purge: Purge) -> None:
    await purge.deliveries()
    metrics.LAST_PURGE.labels("deliveries").set_to_current_time()


async def _purge_files(purge: Purge) -> None:
    metrics.NOTES_EXPIRED.inc(await purge.files())


async def _measure_keys_left(key_db: Database) -> None:
    metrics.KEYS_LEFT.set(await keys_left(key_db))


async def _measure_stored_bytes(service: Service) -> None:
    service.posting.stored_bytes = await service.msg_db.bytes_on_disk()
    metrics.STORED_BYTES.set(service.posting.stored_bytes)
    metrics.STORED_BYTES_LIMIT.set(service.settings.max_stored_bytes)


async def _return_free_memory() -> None:
    linux.return_free_memory()


async def _drain(server: Server, service: Service) -> None:
    """Accept no new connections, and wait until the requests in progress are answered to the last byte.

    If the server closed an idle connection just as a proxy sends a request on it, the proxy could not
    know whether the request was carried out. So the server lets the proxy close its connections: each
    answer asks for that from now on, and nginx closes idle ones after two seconds
    (nginx/templates/site.conf.template).
    """
    server.stop()
    deadline = asyncio.get_running_loop().time() + service.settings.drain_seconds
    while asyncio.get_running_loop().time() < deadline and (
        service.in_progress
        or server.sending
        or any(is_trusted(peer, service.settings.trusted_proxies) for peer in server.addresses)
    ):
        await asyncio.sleep(0.02)
    await server.close()
