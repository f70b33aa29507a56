"""The sealed chunks of files that were revealed to a reader, and their SQL: fetch, and delete once they are received.

A delivery has them for an hour. `files.py` puts them.
"""

from __future__ import annotations

from server.database import Database, PreparedStatement, base64_of, copy_out
from server.sealed_files import MAX_CHUNKS


class RevealedFiles:
    """The files of the deliveries of one msg-db."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def fetch(self, delivery: bytes, first: int, now: str) -> bytes:
        """The chunks of a delivery from the number `first` on, one after another, at most MAX_CHUNKS.

        Args:
            delivery: as `notes.delivery_id` makes it from the reader's nonce.
            now: by the other of two clocks. The hour is counted by the earlier one.

        Returns:
            Nothing if there is no such delivery or chunk.

        Raises:
            Unavailable: the msg-db cannot be reached.
        """
        parameters = (delivery, now, first, first + MAX_CHUNKS)
        return b"".join(await self._database.copy(lambda cursor: copy_out(cursor, self.FETCH, parameters)))

    FETCH = """
        SELECT sealed
        FROM chunk
        WHERE files = (
                SELECT files
                FROM delivery
                WHERE id = %s
                    AND least(clock_timestamp(), %s::timestamptz) - at < interval '1 hour'
            )
            AND number >= %s
            AND number < %s
        ORDER BY number
        """

    async def received(self, delivery: bytes) -> None:
        """Delete the chunks of a delivery: its reader has them. Raises Unavailable."""
        await self._database.execute_shielded(self.RECEIVED, base64_of(delivery))

    RECEIVED = PreparedStatement(
        "received_chunks",
        "text",
        """
        DELETE FROM chunk
        WHERE files = (SELECT files FROM delivery WHERE id = decode($1, 'base64'))
        """,
    )
