"""Answers that get lost, and what the same reader may fetch again."""

import asyncio

import pytest

from server.notes import (
    Ending,
    Notes,
)
from tests.faults import stack
from tests.faults.proxy import Break, Moment, Proxy, Trap, socket_of
from tests.server.test_notes import (
    SEALED,
    Keys,
    a_note,
    count,
    holding,
    nonce,
    opened,
    reveal,
    until_waiting,
    verifier,
)

pytestmark = pytest.mark.gen_test


@pytest.fixture
def proxy(msg_db_url):
    """A proxy in front of the msg-db, which can break the conversation."""
    with Proxy(socket_of(msg_db_url)) as proxy:
        yield proxy


@pytest.fixture
def proxy_url(proxy, msg_db_url):
    """The URL of the msg-db behind the proxy."""
    return proxy.url(stack.name_of(msg_db_url))


@pytest.mark.parametrize("moment", [Moment.ANSWERED, Moment.UNSENT])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_lost_answer_to_commit_loses_no_note(proxy_url, proxy, moment, times):
    """Whether the COMMIT took effect or not, the reader gets the note, and nobody else ever does."""
    async with opened(proxy_url) as (notes, _):
        placed = await notes.put(a_note())
        traps = [proxy.arm(Trap("commit", moment, Break.CUT)) for _ in range(times)]

        assert await reveal(notes, placed.key) == SEALED
        assert await reveal(notes, placed.key) == "read"
        assert all(trap.sprung.is_set() for trap in traps)


async def test_a_lost_commit_does_not_show_what_another_reader_got(msg_db_url, proxy_url, proxy):
    """If the COMMIT never arrived and another reader was faster, the first reader gets nothing."""

    def lose_the_commit(statement):
        if statement != "commit":
            return None
        proxy.refusing = True  # so that the first reader cannot try again before the other one
        return Trap("commit", Moment.UNSENT, Break.CUT)

    async with opened(proxy_url) as (notes, _), opened(msg_db_url) as (other, _):
        placed = await notes.put(a_note())
        proxy.choose = lose_the_commit
        first = asyncio.create_task(reveal(notes, placed.key, reader=b"first"))
        while not proxy.sprung:
            await asyncio.sleep(0.005)

        assert await reveal(other, placed.key, reader=b"other") == SEALED
        proxy.choose = None
        proxy.refusing = False
        assert await first == "read"


async def test_a_group_with_a_lost_answer_gives_each_reader_its_own(proxy_url, proxy):
    """Receipts cover the whole group: notes, other links, wrong proofs and readers that came too late."""
    async with opened(proxy_url) as (notes, _):
        placed = [await notes.put(a_note(b"%d" % n, fill=b"%d" % n)) for n in range(4)]
        trap = proxy.arm(Trap("commit", Moment.ANSWERED, Break.CUT))

        got = await asyncio.gather(
            reveal(notes, placed[0].key, b"0", reader=b"reader"),
            reveal(notes, placed[0].key, b"0", link=b"other link"),
            reveal(notes, placed[1].key, b"1"),
            reveal(notes, placed[0].key, b"0", reader=b"late"),
            reveal(notes, placed[2].key, b"wrong"),
            reveal(notes, placed[2].key, b"2"),
            reveal(notes, placed[3].key, b"wrong"),
        )
        status = await notes.status(placed[3].key, verifier(b"link"))

    assert trap.sprung.is_set()
    sealed = [b"\x02" + b"%d" % n * 284 for n in range(3)]
    assert got == [sealed[0], None, sealed[1], "read", "wrong, 9 left", sealed[2], "wrong, 9 left"]
    assert status.wrong_passphrases in (1, 2)  # a guess whose answer was lost may count twice


async def test_a_commit_that_answers_rollback_is_no_commit(msg_db_url):
    """A failed transaction ends without an error; its rows are not shown but revealed again."""

    class RollingBackOnce(Notes):
        commits = iter(["ROLLBACK"])

        @property
        def COMMIT(self):
            return next(self.commits, Notes.COMMIT)

    async with opened(msg_db_url) as (_, database):
        notes = RollingBackOnce(database, Keys())
        placed = await notes.put(a_note())

        assert await reveal(notes, placed.key) == SEALED
        assert await count(database) == 0
        assert await count(database, "delivery") == 1


async def delivered(database):
    return await database.execute("SELECT sealed FROM delivery WHERE key IS NOT NULL")


async def test_the_same_reader_gets_the_same_bytes_again_and_nobody_else(msg_db_url):
    """A repeated request of the same reader is answered as the first one; another reader is told the ending."""
    async with opened(msg_db_url) as (notes, _), opened(msg_db_url) as (other, _):
        placed = await notes.put(a_note())

        assert await reveal(notes, placed.key, reader=b"reader") == SEALED
        for server in (notes, other):
            assert await reveal(server, placed.key, reader=b"reader") == SEALED
            assert await reveal(server, placed.key, reader=b"other reader") == "read"
            assert await reveal(server, placed.key) == "read"
            assert await reveal(server, placed.key, link=b"other link", reader=b"reader") is None


async def test_a_nonce_is_a_readers_for_one_note_only(msg_db_url):
    """With the same nonce, each note has its own delivery."""
    async with opened(msg_db_url) as (notes, _):
        placed = [await notes.put(a_note(fill=b"%d" % n)) for n in range(2)]

        got = [await reveal(notes, placed[n].key, reader=b"reader") for n in (0, 1, 0, 1)]

        assert got == [a_note(fill=b"%d" % n).sealed for n in (0, 1, 0, 1)]


async def test_a_reader_in_one_group_with_itself_gets_the_bytes_twice(msg_db_url):
    """A retry that overtakes nothing is the same reader, not a second one; its group has another reader too."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(a_note())

        got = await asyncio.gather(
            *(reveal(notes, placed.key, reader=reader) for reader in (b"reader", b"other", b"reader"))
        )

        assert got == [SEALED, "read", SEALED]


async def test_a_retry_that_waits_for_its_first_attempt_gets_the_bytes(msg_db_url):
    """The retry reaches another process while the first attempt is not committed yet; both get the note."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        placed = await notes.put(a_note())
        async with holding(database, "SELECT FROM note FOR UPDATE"):
            attempts = [
                asyncio.create_task(reveal(server, placed.key, reader=b"reader")) for server in (notes, other)
            ]
            await until_waiting(database, 2)

        assert await asyncio.gather(*attempts) == [SEALED, SEALED]


async def test_a_lost_answer_to_commit_does_not_show_one_readers_note_to_another(
    msg_db_url, proxy_url, proxy
):
    """The delivery is committed with the reading: only the reader that has it gets the bytes in a new process."""
    async with opened(proxy_url) as (notes, _), opened(msg_db_url) as (restarted, _):
        placed = await notes.put(a_note())
        proxy.arm(Trap("commit", Moment.ANSWERED, Break.CUT))
        reading = asyncio.create_task(reveal(notes, placed.key, reader=b"reader"))
        while not proxy.sprung:
            await asyncio.sleep(0.005)

        assert await reveal(restarted, placed.key, reader=b"other reader") == "read"
        assert await reveal(restarted, placed.key, reader=b"reader") == SEALED
        assert await reading == SEALED


async def test_after_a_minute_a_delivery_is_over(msg_db_url):
    """Even the same reader is told that the note was read, and the purge removes the bytes."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await reveal(notes, placed.key, reader=b"reader")
        await database.execute("UPDATE delivery SET at = at - interval '59 seconds'")
        await notes.purge.deliveries()
        assert await reveal(notes, placed.key, reader=b"reader") == SEALED
        await database.execute("UPDATE delivery SET at = at - interval '1 second'")

        assert await reveal(notes, placed.key, reader=b"reader") == "read"
        assert await delivered(database) != [(None,)]
        await notes.purge.deliveries()
        assert await delivered(database) == [(None,)]


async def test_a_delivery_is_forgotten_though_its_commit_came_late_or_the_clock_was_set_back(msg_db_url):
    """A later pass forgets what it did not see before: rows of the last minutes, or of any time after a jump."""
    async with opened(msg_db_url) as (notes, database):
        for clock, age in (("now()", "119 seconds"), ("now() - interval '1 minute'", "9 minutes")):
            await notes.purge.deliveries()
            placed = await notes.put(a_note())
            await reveal(notes, placed.key, reader=b"reader")
            await database.execute(f"UPDATE delivery SET at = now() - interval '{age}'")
            notes.purge.NOW = f"SELECT {clock}"

            await notes.purge.deliveries()

            assert set(await delivered(database)) == {(None,)}


async def test_what_was_received_is_gone(msg_db_url):
    """The sealed bytes leave the table with the acknowledgement; the ending keeps the mark; repeating is harmless."""
    mark = verifier(b"mark")
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await reveal(notes, placed.key, reader=b"reader")
        read = await notes.status(placed.key, verifier(b"link"))

        assert await notes.received(placed.key, nonce(b"reader"), mark)
        assert await delivered(database) == [(None,)]
        assert await reveal(notes, placed.key, reader=b"reader") == "read"
        assert await notes.received(placed.key, nonce(b"reader"), verifier(b"other mark"))
        assert await notes.received(placed.key, nonce(b"reader"), None)
        assert await notes.status(placed.key, verifier(b"link")) == Ending("read", read.at, mark)


async def test_acknowledgements_share_a_statement_and_keep_their_own_marks(msg_db_url):
    """Of many at once, each is told of its own delivery, and each ending gets its own reader's first mark."""
    async with opened(msg_db_url) as (notes, database):
        placed = [await notes.put(a_note(link=b"%d" % n)) for n in range(20)]
        for n, place in enumerate(placed):
            await reveal(notes, place.key, link=b"%d" % n, reader=b"reader")
        calls = [(place.key, verifier(b"mark %d" % n) if n % 2 else None) for n, place in enumerate(placed)]
        calls += [("nokey", verifier(b"mark")), (placed[1].key, verifier(b"second mark"))]

        known = await asyncio.gather(*(notes.received(key, nonce(b"reader"), mark) for key, mark in calls))

        assert known == [True] * 20 + [False, True]
        marks = [(await notes.status(place.key, verifier(b"%d" % n))).mark for n, place in enumerate(placed)]
        assert marks == [mark for _, mark in calls[:20]]
        assert await delivered(database) == [(None,)] * 20


async def test_only_the_reader_can_acknowledge(msg_db_url):
    """Another nonce, or the same one for another note, names no delivery, and leaves no mark."""
    async with opened(msg_db_url) as (notes, database):
        placed, other = await notes.put(a_note()), await notes.put(a_note())
        await reveal(notes, placed.key, reader=b"reader")

        assert not await notes.received(placed.key, nonce(b"other reader"), verifier(b"mark"))
        assert not await notes.received(other.key, nonce(b"reader"), verifier(b"mark"))
        assert await reveal(notes, placed.key, reader=b"reader") == SEALED
        assert (await notes.status(placed.key, verifier(b"link"))).mark is None


async def test_a_reader_without_a_nonce_leaves_no_bytes(msg_db_url):
    """It is answered once."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(a_note())
        await reveal(notes, placed.key)

        assert await delivered(database) == []
        assert await database.execute("SELECT count(sealed) FROM delivery") == [(0,)]


async def test_a_clock_that_jumps_forward_purges_nothing_early(msg_db_url):
    """A receipt that a lost answer waits for, and an ending, stay as long as by the slower of two clocks."""

    async with opened(msg_db_url) as (_, database):
        notes = Notes(database, Keys())
        placed = await notes.put(a_note())
        await reveal(notes, placed.key, reader=b"reader")
        await notes.purge.notes()
        notes.purge.NOW = "SELECT now() + interval '8 days'"
        await notes.purge.notes()
        await notes.purge.deliveries()

        assert await reveal(notes, placed.key, reader=b"reader") == SEALED
        assert (await count(database, "ending"), await count(database, "delivery")) == (1, 2)
        notes.purge.NOW = "SELECT now() - interval '8 days'"
        await notes.purge.notes()
        assert await count(database, "ending") == 1
