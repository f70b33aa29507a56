"""A process that takes keys as fast as it can and prints them until none is left. Its argument is a URL."""

import asyncio
import contextlib
import logging
import sys

from server.database import Database
from server.keys import KEYS_PER_BLOCK, KeyLeaser, OutOfKeys


async def main(url):
    database = Database(url, 2, 5.0)
    keys = KeyLeaser(database)
    await keys.start()
    taken = []
    with contextlib.suppress(OutOfKeys):
        while True:
            taken.append(await keys.take())
            if len(taken) == KEYS_PER_BLOCK:
                print("\n".join(taken), flush=True)
                taken = []
    if taken:
        print("\n".join(taken), flush=True)
    await keys.stop()
    await database.close()


if __name__ == "__main__":
    logging.disable()
    asyncio.run(main(sys.argv[1]))
