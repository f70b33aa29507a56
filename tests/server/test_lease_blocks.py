"""`lease_blocks` in the key-db: new blocks first, then all blocks again, each only after its rest."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest

from kgs import seeding
from server import keys
from server.keys import KEYS_LEFT


@pytest.fixture
def sql(key_db_url):
    """Run SQL on the test's key-db, each call in a separate transaction."""
    with contextlib.closing(psycopg2.connect(key_db_url)) as connection:

        def run(statement, *parameters):
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def fill(key_db_url):
    """Seed until there are this many blocks."""
    return lambda blocks: list(seeding.seed(key_db_url, blocks))


@pytest.fixture
def lease(sql):
    """Lease up to this many blocks, and return their ids."""
    return lambda blocks=16: [id_ for (id_,) in sql("SELECT id FROM lease_blocks(%s)", blocks)]


@pytest.fixture
def age(sql):
    """Make leases of some blocks older by their rest, or by something else."""

    def make_older(condition="true", interval="key_rest()"):
        sql(f"UPDATE key_lease SET at = at - {interval} WHERE {condition}")

    return make_older


def test_the_rest_is_the_same_in_python_and_in_the_database(sql):
    """Sixty days: the longest lifetime of a note, and thirty days."""
    assert sql("SELECT key_rest()") == [(keys.REST,)]


def test_blocks_come_again_in_the_same_order_once_they_have_rested(fill, lease, age, sql):
    """A second lap, with the same keys in the same order."""
    fill(5)
    first_lap = sql("SELECT * FROM lease_blocks(16)")
    assert lease() == []
    age()

    assert sql("SELECT * FROM lease_blocks(16)") == first_lap
    assert lease() == []


@pytest.mark.parametrize("interval", ["interval '59 days 23 hours'", "-interval '1 year'"])
def test_a_block_is_not_leased_before_it_has_rested(fill, lease, age, interval):
    """Neither a little too early nor when its lease lies in the future because the clock was wrong."""
    fill(5)
    lease()
    age(interval=interval)

    assert lease() == []


def test_a_lease_ends_before_the_first_block_that_still_rests(fill, lease, age):
    """Fewer blocks than asked for, and those that follow in the order they were leased in."""
    fill(8)
    lease()
    age("id < 3")

    assert lease(2) == [0, 1]
    assert lease() == [2]
    assert lease() == []
    age("id = 3")
    assert lease() == [3]


def test_new_blocks_are_leased_before_others_are_leased_again(fill, lease, age):
    """Seeding more helps at once, in the middle of a later lap too."""
    fill(4)
    lease()
    age()
    assert lease(2) == [0, 1]
    fill(6)

    assert lease() == [4, 5]
    assert lease() == [2, 3]
    assert lease() == []


def test_a_lap_ends_where_seeding_had_come_to(fill, lease, age):
    """If blocks are added right after a lap, the next lap still begins with the first block."""
    fill(4)
    lease()
    age()
    assert lease() == [0, 1, 2, 3]
    fill(6)
    assert lease() == [4, 5]
    age("id < 4")

    assert lease() == [0, 1, 2, 3]


def test_a_block_without_a_row_in_the_log_has_rested(fill, lease, sql):
    """Old rows may be deleted."""
    fill(4)
    lease()
    sql("DELETE FROM key_lease WHERE id < 2")

    assert lease() == [0, 1]


@pytest.mark.parametrize(
    "blocks, leased", [(17, 16), (1 << 30, 16), (None, 16), (0, 0), (-1, 0), (-(2**31), 0)]
)
def test_a_lease_is_bounded(fill, lease, sql, blocks, leased):
    """At most 16 blocks; a number that makes no sense leases nothing and leaves the cursor alone."""
    fill(40)
    lease()

    assert len(lease(blocks)) == leased
    assert sql("SELECT next, again, seeded FROM key_cursor") == [(16 + leased, 0, 40)]


def test_a_lease_that_waited_sees_what_was_leased_meanwhile(fill, lease, age, key_db_url, sql):
    """The only block has rested when two lessees ask for it: the one that has to wait gets nothing."""
    fill(1)
    lease()
    age()
    waiting = "SELECT count(*) FROM pg_locks, pg_sleep(0.02) WHERE NOT granted AND locktype = 'transactionid'"
    with contextlib.closing(psycopg2.connect(key_db_url)) as first, first.cursor() as cursor:
        cursor.execute("SELECT id FROM lease_blocks(1)")
        assert cursor.fetchall() == [(0,)]
        with ThreadPoolExecutor(1) as thread, contextlib.closing(psycopg2.connect(key_db_url)) as watch:
            second = thread.submit(lease)
            with watch.cursor() as watching:
                while watching.execute(waiting) or watching.fetchone() != (1,):
                    pass
            first.commit()
            assert second.result() == []


def test_a_lease_that_is_rolled_back_never_happened(fill, lease, key_db_url, sql):
    """The log and the cursor move together or not at all."""
    fill(2)
    with contextlib.closing(psycopg2.connect(key_db_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM lease_blocks(1)")
        connection.rollback()

    assert sql("SELECT count(*) FROM key_lease") == [(0,)]
    assert lease(1) == [0]


def test_an_old_transaction_does_not_shorten_the_rest(fill, sql):
    """A lease is logged with the time at which it happens, not with that of its transaction."""
    fill(1)

    assert sql("SELECT FROM lease_blocks(1); SELECT at > now() FROM key_lease") == [(True,)]


def test_the_caller_cannot_put_other_tables_in_the_way(fill, sql):
    """The function runs with its owner's rights, so it means the tables of the schema, whatever the caller has."""
    fill(1)

    leased = sql(
        "CREATE TEMPORARY TABLE key_cursor AS SELECT true AS single, 7 AS next, 0 AS again, 100 AS seeded;"
        "CREATE TEMPORARY TABLE key_lease AS SELECT 7 AS id, false AS fenced, now() AS at;"
        "SET LOCAL search_path = pg_temp, public;"
        "SELECT id FROM lease_blocks(1)"
    )

    assert leased == [(0,)]


def pages_of(sql, statement, *parameters):
    """Count the pages that a statement reads, including those of the statements in its functions."""
    (([explained],),) = sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT json) {statement}", *parameters)
    return explained["Plan"]["Shared Hit Blocks"] + explained["Plan"]["Shared Read Blocks"]


@pytest.mark.parametrize("leased", [0, 0.5, 1])
def test_cost_does_not_depend_on_how_much_is_leased(sql, leased):
    """Of a log of 100,000 rows, a lease and the count of the blocks left read a few pages, not all."""
    size = 100_000
    sql("INSERT INTO key_block SELECT id, repeat('x', 1280) FROM generate_series(0, 9999) AS id")
    sql("UPDATE key_cursor SET next = %s, seeded = %s", int(leased * size) + 1, size)
    sql(
        "INSERT INTO key_lease (id, at) SELECT id, now() - key_rest() - interval '1 day'"
        " FROM generate_series(0, %s) AS id",
        int(leased * size),
    )
    sql("ANALYZE key_lease, key_block")
    sql("SET plan_cache_mode = force_generic_plan")
    for _ in range(2):  # the first time also reads the catalogue
        lease = pages_of(sql, "SELECT * FROM lease_blocks(1)")
        left = pages_of(sql, KEYS_LEFT)

    assert lease < 50
    assert left < 150


def test_the_log_does_not_grow_from_lap_to_lap(fill, lease, sql):
    """Leasing a block again replaces its row, mostly within the page: eight laps need no vacuum."""
    sql("ALTER TABLE key_lease SET (autovacuum_enabled = false)")
    sql("CREATE OR REPLACE FUNCTION key_rest() RETURNS interval LANGUAGE sql RETURN interval '0'")
    size = "SELECT pg_total_relation_size('key_lease')"
    fill(1000)
    sizes = []
    for _ in range(8):
        leased = []
        while len(leased) < 1000:
            leased += lease()
        assert leased == list(range(1000))
        sizes.append(sql(size)[0][0])

    assert sizes[-1] < 2 * sizes[0]


def test_keys_left_are_all_that_could_be_leased(fill, sql):
    """Wherever the lap is, and however many blocks rest: new blocks, and the rested ones from `again` on."""
    size = 7
    fill(size + 2)
    for again in range(size):
        for resting in range(size + 1):
            sql("UPDATE key_cursor SET next = %s, again = %s", size, again)
            sql("TRUNCATE key_lease")
            sql(
                "INSERT INTO key_lease SELECT mod(%s + i, %s), false,"
                " now() - key_rest() + (i - %s + 0.5) * interval '1 day' FROM generate_series(0, %s) AS i",
                again,
                size,
                size - resting,
                size - 1,
            )

            assert sql(KEYS_LEFT) == [(2 + size - resting,)]


def test_of_an_empty_table_no_keys_are_left(sql):
    """Nothing is seeded, and nothing divides by zero."""
    assert sql(KEYS_LEFT) == [(0,)]
