"""Passphrases are tried ten times, then with growing delays, whoever sends them."""

import asyncio
import contextlib
from collections import Counter

import pytest

from tests.server.test_notes import SEALED, a_note, holding, opened, reveal, until_waiting, verifier

pytestmark = pytest.mark.gen_test


def locked_note():
    return a_note(has_passphrase=True)


async def tries(database):
    ((number,),) = await database.execute("SELECT tries FROM note")
    return number


async def let_time_pass(database):
    """Until the next passphrase may be tried."""
    await database.execute("UPDATE note SET next_try_at = now()")


async def test_of_a_thousand_guesses_at_once_ten_are_tried(msg_db_url):
    """Four processes guess at once; a right one that comes after the tenth is refused, after a restart too."""
    async with contextlib.AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(opened(msg_db_url)) for _ in range(4)]
        placed = await servers[0][0].put(locked_note())

        told = await asyncio.gather(
            *(reveal(servers[n % 4][0], placed.key, b"wrong %d" % n, reader=b"%d" % n) for n in range(1000)),
            *(reveal(notes, placed.key) for notes, _ in servers),
        )

        words = Counter(answer.split(",")[0] for answer in told)
        assert words.pop("wrong") == 10
        assert all(answer.startswith("wait") for answer in words)
        assert {answer for answer in told if answer.startswith("wrong")} == {
            f"wrong, {left} left" for left in range(10)
        }
        assert await tries(servers[0][1]) == 10
    async with opened(msg_db_url) as (restarted, _):
        assert (await reveal(restarted, placed.key)).startswith("wait")


async def test_a_right_passphrase_within_the_budget_opens_the_note(msg_db_url):
    """After nine wrong ones there is one left."""
    async with opened(msg_db_url) as (notes, _):
        placed = await notes.put(locked_note())
        told = [await reveal(notes, placed.key, b"wrong") for _ in range(9)]

        assert told == [f"wrong, {left} left" for left in range(9, 0, -1)]
        assert await reveal(notes, placed.key) == SEALED


async def test_after_ten_tries_each_has_to_wait_twice_as_long(msg_db_url):
    """One minute, two, four and so on up to an hour, however often; meanwhile even the right one is refused."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(locked_note())
        await database.execute("UPDATE note SET tries = 9")
        waits = []
        for _ in range(8):
            wrong, right = await asyncio.gather(
                *(reveal(notes, placed.key, proof) for proof in (b"wrong", b"proof"))
            )
            assert wrong == "wrong, 0 left"
            waits.append(right)
            assert (await reveal(notes, placed.key)).startswith("wait")
            assert (await notes.status(placed.key, verifier(b"link"))).seconds_to_wait > 0
            await let_time_pass(database)
        await database.execute("UPDATE note SET tries = 5000")
        assert await reveal(notes, placed.key, b"wrong") == "wrong, 0 left"
        await let_time_pass(database)

        assert waits == [f"wait {minutes * 60} s" for minutes in (1, 2, 4, 8, 16, 32, 60, 60)]
        assert (await notes.status(placed.key, verifier(b"link"))).seconds_to_wait == 0
        assert await reveal(notes, placed.key) == SEALED


async def test_after_ten_tries_one_guess_of_a_group_is_tried(msg_db_url):
    """The first one that came: if it is wrong, a right one behind it is refused."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(locked_note())
        await database.execute("UPDATE note SET tries = 10, next_try_at = now()")

        told = await asyncio.gather(*(reveal(notes, placed.key, proof) for proof in (b"wrong", b"proof")))
        assert told == ["wrong, 0 left", "wait 120 s"]
        await let_time_pass(database)
        told = await asyncio.gather(*(reveal(notes, placed.key, proof) for proof in (b"proof", b"wrong")))
        assert told == [SEALED, "read"]


@pytest.mark.parametrize("place", range(13))
async def test_guesses_of_one_group_are_tried_in_the_order_of_their_arrival(msg_db_url, place):
    """Among the first ten the right one opens the note; from the eleventh on it is not tried."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(locked_note())
        proofs = [b"proof" if n == place else b"wrong" for n in range(13)]

        told = await asyncio.gather(*(reveal(notes, placed.key, proof) for proof in proofs))

        if place < 10:
            expected = [f"wrong, {9 - n} left" for n in range(place)] + [SEALED] + ["read"] * (12 - place)
        else:
            expected = [f"wrong, {9 - n} left" for n in range(10)] + ["wait 60 s"] * 3
        assert told == expected


async def test_without_the_link_nothing_counts_and_nothing_is_locked(msg_db_url):
    """A stranger who knows the key changes no row, and waits for no lock."""
    row = "SELECT xmin::text, xmax::text, tries, next_try_at FROM note"
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        placed = await notes.put(locked_note())
        before = await database.execute(row)
        async with holding(database, "SELECT FROM note FOR UPDATE"):
            told = await asyncio.gather(*(reveal(other, placed.key, link=b"%d" % n) for n in range(100)))
            assert not await other.destroy(placed.key, verifier(b"other link"))
        untouched = await notes.put(locked_note())
        await reveal(other, untouched.key, link=b"other link")

        assert told == [None] * 100
        assert await database.execute(row + " WHERE key = %s", (placed.key,)) != before  # that was the lock
        ((_, xmax, *_),) = await database.execute(row + " WHERE key = %s", (untouched.key,))
        assert xmax == "0"
        assert await database.execute("SELECT sum(tries) FROM note") == [(0,)]


async def test_a_missing_passphrase_is_no_guess(msg_db_url):
    """It is asked for, however often, and costs no try; a note without one takes any client's word for it."""
    async with opened(msg_db_url) as (notes, database):
        placed = await notes.put(locked_note())

        told = await asyncio.gather(
            *(reveal(notes, placed.key, b"token", without_passphrase=True) for _ in range(12)),
            reveal(notes, placed.key, b"wrong"),
        )
        assert told == ["passphrase needed"] * 12 + ["wrong, 9 left"]
        assert await tries(database) == 1
        open_to_all = await notes.put(a_note())
        assert await reveal(notes, open_to_all.key, without_passphrase=True) == SEALED


async def test_a_right_guess_that_waits_for_the_tenth_wrong_one_is_refused(msg_db_url):
    """The budget is read from the row as the other process left it, not as it was when the statement began."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        placed = await notes.put(locked_note())
        tenth = "UPDATE note SET tries = 10, next_try_at = now() + interval '1 minute'"
        async with holding(database, tenth):
            guessing = asyncio.create_task(reveal(other, placed.key))
            await until_waiting(database)

        assert (await guessing).startswith("wait")


async def test_a_wrong_guess_that_waits_for_another_counts_on_top_of_it(msg_db_url):
    """Nothing is counted twice or lost when the row changes while a statement waits for it."""
    async with opened(msg_db_url) as (notes, database), opened(msg_db_url) as (other, _):
        placed = await notes.put(locked_note())
        async with holding(database, "UPDATE note SET tries = 4"):
            guessing = asyncio.gather(*(reveal(other, placed.key, b"wrong") for _ in range(3)))
            await until_waiting(database)

        assert await guessing == ["wrong, 5 left", "wrong, 4 left", "wrong, 3 left"]
        assert await tries(database) == 7
