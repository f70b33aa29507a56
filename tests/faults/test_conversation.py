"""The conversation with the msg-db breaks at every point, in every way: no note is lost or shown to two readers."""

import asyncio
import contextlib
import hashlib
import itertools
from datetime import timedelta

import psycopg2
import pytest

from server.database import Database, Unavailable
from server.keys import ALPHABET
from server.notes import Ended, Note, Notes, WrongPassphrase
from tests.faults.conftest import PATIENT, TIMEOUT
from tests.faults.proxy import CONNECT, Break, Moment, Trap

pytestmark = pytest.mark.gen_test(timeout=600)

SEALED = b"\x02" + bytes(284)

# Every conversation of a reveal: also a second one, after an answer to COMMIT was lost.
LOST_COMMIT = Trap("commit", Moment.ANSWERED, Break.CUT)
NEVER_SENT_COMMIT = Trap("commit", Moment.UNSENT, Break.LATE)
FIRST_TRY = [[Trap(*point)] for point in itertools.product(("reveal", "commit"), Moment, Break)]
SECOND_TRY = [
    [first, Trap(*point)]
    for first in (LOST_COMMIT, NEVER_SENT_COMMIT)
    for point in itertools.product(("reveal", "past", "receipts", "commit"), Moment, (Break.CUT, Break.LATE))
]
# These take longer: `make faults` does them.
SILENT_SECOND_TRY = [
    [LOST_COMMIT, Trap(*point)]
    for point in itertools.product(("reveal", "past", "receipts", "commit"), Moment, (Break.SILENCE,))
]
PUTS = [Trap(*point) for point in itertools.product(("put",), Moment, Break)]
CONNECTS = [Trap(CONNECT, moment, how) for moment, how in itertools.product(Moment, Break)]


class Keys:
    """As many keys as there are cases."""

    def __init__(self, first):
        self._numbers = itertools.count(first)

    async def take(self):
        number = next(self._numbers)
        return "".join(ALPHABET[number >> shift & 63] for shift in (24, 18, 12, 6, 0))


def verifier(key):
    return hashlib.sha256(key.encode()).digest()


def a_note(proof):
    return Note(verifier("link"), verifier(proof), SEALED, False, timedelta(hours=1))


@contextlib.asynccontextmanager
async def opened(url, first_key=0, timeout=TIMEOUT):
    """Notes over connections of their own."""
    async with opened_with_database(url, first_key, timeout) as (notes, _):
        yield notes


@contextlib.asynccontextmanager
async def opened_with_database(url, first_key=0, timeout=TIMEOUT):
    """The same, and their database."""
    database = Database(url, 3, timeout)
    try:
        yield Notes(database, Keys(first_key)), database
    finally:
        await database.close()


def copies(traps, key):
    """The same traps for one note, each armed by the one before it."""
    copied = [Trap(trap.statement, trap.moment, trap.how, key.encode()) for trap in traps]
    for earlier, later in itertools.pairwise(copied):
        later.after = earlier
    return copied


async def attempt(notes, key, proof=None, reader=None):
    """What one reader gets: sealed bytes, how the note ended, None without the link, or Unavailable for a 503."""
    try:
        nonce = None if reader is None else reader.encode().ljust(32, b"-")
        return await notes.reveal(key, verifier("link"), verifier(proof or key), reader=nonce)
    except Ended as ended:
        return ended.ending.how
    except Unavailable as unavailable:
        return unavailable


async def reveal_through(proxy, url, steady, traps, key, rival=None):
    """A reader whose conversations break at `traps`; a rival reader, or the reader itself over another process,
    starts at the first break."""
    armed = [proxy.arm(trap) for trap in copies(traps, key)]

    async def until_a_break(notes):
        answer = await attempt(notes, key, reader="reader")
        while isinstance(answer, Unavailable) and not armed[0].sprung.is_set():  # a busy machine refused it
            answer = await attempt(notes, key, reader="reader")
        return answer

    async with opened(url) as notes:
        reader = asyncio.create_task(until_a_break(notes))
        if rival:
            while not armed[0].sprung.is_set() and not reader.done():
                await asyncio.sleep(0.005)
            got = [(rival, await attempt(steady, key, reader=rival))]
        else:
            got = []
        got = [("reader", await reader), *got]
    # Whatever is still under way in the database has an end, and then there is one answer for each reader.
    for one in ("reader", "last"):
        answer = Unavailable()
        while isinstance(answer, Unavailable):
            answer = await attempt(steady, key, reader=one)
        got.append((one, answer))
    unsprung = [trap.name for trap in armed if not trap.sprung.is_set()]
    proxy.traps = [trap for trap in proxy.traps if trap not in armed]
    return got, unsprung


def verdict(got):
    """What is wrong with what readers got, as (reader, answer) one after the other, or None."""
    shown = {reader for reader, answer in got if isinstance(answer, bytes)}
    if len(shown) > 1:
        return "shown to two readers"
    if not shown:
        return "lost"
    if any(isinstance(answer, bytes) and answer != SEALED for _, answer in got):
        return "not what was put"
    if any(reader in shown and answer == "read" for reader, answer in got):
        return "a reader that stayed was told that somebody had read it"
    if any(answer is None for _, answer in got):
        return "no ending for a client that has the link"
    return None


RIVALS = {"alone": None, "with a rival": "rival", "again over another process": "reader"}


@pytest.mark.parametrize("rival", RIVALS.values(), ids=RIVALS)
async def test_a_reveal_has_one_reader_wherever_its_conversation_breaks(
    msg_db_url, proxy, through_proxy, rival
):
    """Each point, each way, on the first try and on the one after a lost COMMIT: one reader is shown it, and stays."""
    url = through_proxy
    async with opened(msg_db_url, timeout=PATIENT) as steady:
        cases = FIRST_TRY + SECOND_TRY
        placed = [await steady.put(a_note("")) for _ in cases]
        await set_verifiers(msg_db_url)

        # Not all at once: a delivery is repeated for 60 seconds, and a busy machine needs more for all of them.
        at_once = asyncio.Semaphore(16)

        async def outcome(traps, key):
            async with at_once:
                return await reveal_through(proxy, url, steady, traps, key, rival)

        outcomes = await asyncio.gather(*(outcome(traps, place.key) for traps, place in zip(cases, placed)))

    wrong = [
        (" then ".join(trap.name for trap in traps), verdict(got), got)
        for traps, (got, _) in zip(cases, outcomes)
        if verdict(got)
    ]
    assert wrong == []
    if not rival:  # who may be quicker than the second try
        assert [names for _, names in outcomes if names] == []
        # Every break around COMMIT ends with the message, not with an error.
        commits = [got[0][1] for traps, (got, _) in zip(cases, outcomes) if traps[0].statement == "commit"]
        assert commits == [SEALED] * len(commits)


async def set_verifiers(url):
    """Let the proof of every note be its key."""
    with contextlib.closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE note SET reveal_verifier = sha256(key::text::bytea)")
        connection.commit()


async def test_a_group_is_exactly_once_wherever_its_conversation_breaks(msg_db_url, proxy, through_proxy):
    """Readers of ten notes share statements, some with a wrong proof; each note keeps to one reader, who stays."""
    url = through_proxy
    async with opened(msg_db_url, timeout=PATIENT) as steady:
        wrong = []
        for moment, how in itertools.product(Moment, (Break.CUT, Break.LATE)):
            placed = [await steady.put(a_note("")) for _ in range(10)]
            await set_verifiers(msg_db_url)
            proxy.arm(trap := Trap("commit", moment, how, placed[5].key.encode()))
            async with opened(url, timeout=PATIENT) as notes:
                guesses = [
                    asyncio.create_task(attempt(notes, place.key, "no", "guesser")) for place in placed
                ]
                readers = [(place.key, reader) for place in placed for reader in ("one", "two", "one")]
                got = await asyncio.gather(*(attempt(notes, key, reader=reader) for key, reader in readers))
                guessed = await asyncio.gather(*guesses, return_exceptions=True)
            assert all(isinstance(answer, WrongPassphrase) or answer == "read" for answer in guessed)
            for n, place in enumerate(placed):
                last = [(one, await attempt(steady, place.key, reader=one)) for one in ("one", "two")]
                of_note = list(zip(("one", "two", "one"), got[3 * n : 3 * n + 3]))
                if reason := verdict(of_note + last):
                    wrong.append((trap.name, reason))
            assert trap.sprung.is_set(), trap.name

    assert wrong == []


async def put_wrongly(url, broken_url, proxy, first_key):
    """Put a note at each break; gives what went wrong."""

    async def put(number, trap):
        key = await Keys(number).take()
        proxy.arm(Trap(trap.statement, trap.moment, trap.how, key.encode()))
        async with opened(broken_url, number) as notes:
            try:
                return await notes.put(a_note(key))
            except Unavailable as unavailable:
                return unavailable

    numbers = [first_key + 1000 * n for n in range(len(PUTS))]
    results = await asyncio.gather(*map(put, numbers, PUTS))
    wrong = []
    async with opened_with_database(url, timeout=PATIENT) as (steady, database):
        twice = await database.execute(
            "SELECT reveal_verifier FROM note GROUP BY reveal_verifier HAVING count(*) > 1"
        )
        for number, trap, result in zip(numbers, PUTS, results):
            if isinstance(result, Unavailable):
                continue
            if await attempt(steady, result.key, await Keys(number).take()) != SEALED:
                wrong.append(trap.name)
    return wrong + ["stored twice" for _ in twice]


async def test_a_put_is_stored_once_wherever_its_conversation_breaks(msg_db_url, proxy, through_proxy):
    """Whoever gets a key can read under it what was put, and a second try makes no second note."""
    assert await put_wrongly(msg_db_url, through_proxy, proxy, 0) == []


async def test_a_connection_that_breaks_while_it_is_made_costs_one_caller_at_most(
    msg_db_url, proxy, through_proxy
):
    """However connecting ends, the next caller is served, and no connection is leaked."""
    url = through_proxy

    async def use(trap):
        async with opened_with_database(url) as (notes, database):
            await attempt(notes, "first")
            return await notes.peek("other"), database.in_use

    for trap in CONNECTS:
        proxy.arm(Trap(trap.statement, trap.moment, trap.how))
    results = await asyncio.gather(*(use(trap) for trap in CONNECTS))

    assert results == [(False, 0)] * len(CONNECTS)


async def test_a_connection_that_breaks_while_it_plans_costs_nothing(msg_db_url, proxy, through_proxy):
    """Wherever preparing a statement breaks, it is prepared again, and nothing is lost or stored twice."""
    points = [
        Trap("prepare", moment, how) for moment, how in itertools.product(Moment, (Break.CUT, Break.LATE))
    ]
    for number, trap in enumerate(points):
        async with opened(through_proxy, 1000 * number, PATIENT) as notes:
            proxy.arm(trap)
            placed = await notes.put(a_note(str(number)))
            proxy.arm(other := Trap("prepare", trap.moment, trap.how))

            assert await attempt(notes, placed.key, str(number)) == SEALED
            assert trap.sprung.is_set() and other.sprung.is_set(), trap.name
    async with opened_with_database(msg_db_url, timeout=PATIENT) as (_, database):
        assert await database.execute("SELECT count(*) FROM note") == [(0,)]
