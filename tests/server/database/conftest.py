"""What the tests of the database package share."""

import asyncio
import contextlib

from server.database import Database


@contextlib.asynccontextmanager
async def opened(url, size=2, timeout=5.0):
    """A Database within the running loop."""
    database = Database(url, size, timeout)
    try:
        yield database
    finally:
        await database.close()


async def backend_of(database):
    """The process id of the backend that serves the next statement."""
    ((pid,),) = await database.execute("SELECT pg_backend_pid()")
    return pid


async def running_statement(database):
    """A task whose statement runs for a minute, on the only connection."""
    await database.execute("SELECT 1")
    running = asyncio.create_task(database.execute("SELECT pg_sleep(60)"))
    while not database.in_use:
        await asyncio.sleep(0)
    return running
