"""Scripts, styles and texts of other releases, for their pages: `migrate` publishes them, every server finds them.

While a new version is rolled out, a load balancer may send a page's request for a script to a server of another
version. The msg-db is what all servers have in common.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import psycopg2

from server.database import Database, PreparedStatement
from server.static_files import File, files_in

# The one before this one may be served still, and a browser may have an older page open.
RELEASES_KEPT = 3

# No file has any other name, and no fingerprint another shape. Nothing else reaches the database.
KNOWN_SHAPE = re.compile(r"[A-Za-z0-9_./-]{1,100}\?v=[0-9a-f]{16}")

# Publishers take turns; servers may read.
LOCK = """
LOCK TABLE static_file IN SHARE ROW EXCLUSIVE MODE
"""

NEXT_RELEASE = """
SELECT coalesce(max(release), 0) + 1
FROM static_file
"""

PUBLISH = """
INSERT INTO static_file (path, fingerprint, media_type, content, release)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (path, fingerprint) DO UPDATE SET release = excluded.release
"""

FORGET = """
DELETE FROM static_file
WHERE release < (
    SELECT min(release)
    FROM (
        SELECT DISTINCT release
        FROM static_file
        ORDER BY release DESC
        LIMIT %s
    ) AS kept
)
"""


def publish(url: str, folder: Path) -> None:
    """Store this release's files in the msg-db, and forget those that only older releases than the last ones have.

    Publishing a release again changes nothing for the others.

    Args:
        url: libpq URL of the msg-db, as its owner.
        folder: the release's static/.

    Raises:
        psycopg2.Error: the database cannot be reached or refuses; then nothing has changed.
    """
    with contextlib.closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(LOCK)
        cursor.execute(NEXT_RELEASE)
        ((release,),) = cursor.fetchall()
        for path, file in files_in(folder).items():
            if file.is_text:
                cursor.execute(PUBLISH, (path, file.fingerprint, file.media_type, file.content, release))
        cursor.execute(FORGET, (RELEASES_KEPT,))


FIND = PreparedStatement(
    "find_static_file",
    "text, text",
    "SELECT media_type, content FROM static_file WHERE path = $1 AND fingerprint = $2",
)


class ReleasedFiles:
    """The published files, as one server process reads them: each once, when it is first asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._found: dict[tuple[str, str], File] = {}

    async def find(self, path: str, fingerprint: str) -> File | None:
        """The file of another release, or None if there is none.

        Args:
            path: below static/.

        Raises:
            Unavailable, psycopg2.Error: as `Database.execute`.
        """
        if not KNOWN_SHAPE.fullmatch(f"{path}?v={fingerprint}"):
            return None
        if (file := self._found.get((path, fingerprint))) is None:
            rows = await self._database.execute_shielded(FIND, path, fingerprint)
            if not rows:
                return None
            ((media_type, content),) = rows
            file = self._found[path, fingerprint] = File(bytes(content), media_type)
        return file
