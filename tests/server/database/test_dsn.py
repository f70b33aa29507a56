"""What becomes of a libpq URL."""

import pytest

from server.database.dsn import resolved
from tests.server.database.conftest import opened

pytestmark = pytest.mark.gen_test


async def test_settings_of_the_url_are_kept(msg_db_url):
    """The server adds its options to those that an operator puts into the URL."""
    async with opened(f"{msg_db_url}&options=-c%20work_mem%3D8MB") as db:
        assert await db.execute("SHOW work_mem") == [("8MB",)]
        assert await db.execute("SHOW statement_timeout") == [("5s",)]
        assert await db.execute("SHOW idle_in_transaction_session_timeout") == [("5s",)]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://web@/notes?host=%2Frun%2Fpostgresql",
        "postgresql://web@192.0.2.1:5433/notes",
        "postgresql://web@[2001:db8::1]/notes",
        "host=notes.invalid hostaddr=192.0.2.1 dbname=notes",
    ],
)
async def test_a_url_without_names_stays_as_it_is(url):
    """Folders of sockets and addresses need no name service."""
    assert await resolved(url) == url


async def test_a_name_that_is_unknown_is_an_error():
    """The caller learns that the name service does not know the host."""
    with pytest.raises(OSError):
        await resolved("postgresql://web@notes.invalid/notes")
