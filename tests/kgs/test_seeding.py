"""Filling the key table: complete, resumable, one at a time, and beside servers that lease."""

import psycopg2
import pytest

from kgs import blocks, fencing, seeding
from tests.kgs.conftest import damage, fill

CHUNK_KEYS = seeding.CHUNK * 256
SUITE_KEYS = 1 << 22


def seeded(sql):
    ((count,),) = sql("SELECT seeded FROM key_cursor")
    return count


def test_four_million_keys_are_written_and_verified(kgs, sql):
    """Seeded as an operator does it, the table holds every key of its blocks exactly once."""
    assert kgs("seed", "--count", SUITE_KEYS)[0] == 0

    code, _, errors = kgs("verify")

    assert code == 0
    assert "sound: 4,194,304 keys" in errors
    assert sql("SELECT count(*), min(id), max(id) FROM key_block") == [(16384, 0, 16383)]


def test_counts_are_rounded_up_to_whole_blocks_and_it_says_so(kgs, sql):
    """257 keys need two blocks."""
    code, _, errors = kgs("seed", "--count", 257)

    assert code == 0
    assert "rounded up to 512 keys" in errors
    assert seeded(sql) == 2


def test_once_done_there_is_nothing_to_do(kgs, sql, key_db_url):
    """The same command a second time changes nothing and succeeds; so does one for fewer keys."""
    fill(key_db_url, 4)

    for count in (1024, 256):
        code, _, errors = kgs("seed", "--count", count)

        assert code == 0
        assert "nothing to do" in errors
        assert seeded(sql) == 4


def test_all_means_every_key_there_can_be(kgs, sql, key_db_url):
    """With all blocks seeded, --all has nothing to do; with one block fewer it writes that one."""
    fill(key_db_url, 1)
    sql("UPDATE key_cursor SET seeded = %s", blocks.ALL_BLOCKS - 1)

    assert "done: 1,073,741,824 keys" in kgs("seed", "--all")[2]
    assert "nothing to do: 1,073,741,824 keys" in kgs("seed", "--all")[2]
    assert sql("SELECT id FROM key_block ORDER BY id") == [(0,), (blocks.ALL_BLOCKS - 1,)]


def test_more_keys_continue_the_order(key_db_url):
    """In however many runs a table is filled, no key comes twice."""
    for target in (1, 5, 4099, 9000):
        assert list(seeding.seed(key_db_url, target))[-1] == target

    assert damage(key_db_url) == []


def test_killed_in_the_middle_it_continues_where_it_stopped(kgs, caught, sql, key_db_url):
    """After SIGKILL only the chunk that was being written is missing, and the next run writes it."""
    fill(key_db_url, seeding.CHUNK)

    with caught("seed", "--count", 3 * CHUNK_KEYS) as process:
        process.kill()

    assert seeded(sql) == seeding.CHUNK
    assert kgs("seed", "--count", 3 * CHUNK_KEYS)[0] == 0
    assert damage(key_db_url) == []


def test_with_its_connection_cut_it_says_so_and_continues_later(caught, sql, key_db_url):
    """A lost connection is one line and a failure; nothing half-written is left."""
    with caught("seed", "--count", 2 * CHUNK_KEYS) as process:
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%%KGS'")
        _, errors = process.communicate()

    assert process.returncode == 1
    assert len([line for line in errors.splitlines() if "ERROR" in line]) == 1
    assert "run it again" in errors
    assert "Traceback" not in errors
    assert sql("SELECT count(*) FROM key_block") == [(0,)]
    fill(key_db_url, 2 * seeding.CHUNK)
    assert damage(key_db_url) == []


def test_a_second_kgs_leaves(kgs, caught):
    """While one is filling the table, another says so and exits."""
    with caught("seed", "--count", 256):
        code, _, errors = kgs("seed", "--count", 512)

    assert code == 1
    assert "another KGS is filling this key-db" in errors


def test_servers_lease_what_is_there_while_it_runs(key_db_url, lease):
    """Between any two chunks a server gets the next block, and none that is not there yet."""
    steps = seeding.seed(key_db_url, 3 * seeding.CHUNK)

    leased = [(step, lease()) for step in steps]

    assert leased == [(0, []), (4096, [0]), (8192, [1]), (12288, [2])]


def test_without_its_order_a_table_is_not_continued(kgs, sql, key_db_url):
    """If the seed of the order is lost, it refuses, because another one would repeat keys."""
    fill(key_db_url, 1)
    sql("DELETE FROM key_order")

    code, _, errors = kgs("seed", "--count", 512)

    assert code == 1
    assert "key_order is empty" in errors
    assert seeded(sql) == 1


def test_two_key_dbs_have_different_orders(key_db_url, sql):
    """Each key-db gets its own seed."""
    fill(key_db_url, 1)
    first = sql("SELECT seed FROM key_order")
    sql("TRUNCATE key_order, key_block")
    sql("UPDATE key_cursor SET seeded = 0")
    fill(key_db_url, 1)

    assert sql("SELECT seed FROM key_order") != first


class TestEnsureAhead:
    """The embedded default calls it at its start, and then from time to time."""

    def test_fills_an_empty_table(self, key_db_url, sql):
        """At least as many keys as asked for can be leased."""
        assert seeding.ensure_ahead(key_db_url, 1000) == 1024
        assert seeded(sql) == 4

    def test_does_nothing_while_there_is_enough(self, key_db_url, sql):
        """What is there counts as long as it is not leased."""
        seeding.ensure_ahead(key_db_url, 1024)

        assert seeding.ensure_ahead(key_db_url, 1024) == 0
        assert seeded(sql) == 4

    def test_adds_what_was_leased(self, key_db_url, sql, lease):
        """Leased blocks are made up for."""
        seeding.ensure_ahead(key_db_url, 1024)
        lease()

        assert seeding.ensure_ahead(key_db_url, 1024) == 256
        assert seeded(sql) == 5

    def test_leaves_it_to_another_kgs(self, key_db_url, caught):
        """It neither waits nor fails while somebody else is filling the table."""
        with caught("seed", "--count", 256):
            assert seeding.ensure_ahead(key_db_url, 1024) == 0

    def test_stops_at_the_last_key(self, key_db_url, lease, monkeypatch):
        """When all blocks are filled, nothing can be added."""
        monkeypatch.setattr(blocks, "ALL_BLOCKS", 5)
        fill(key_db_url, 4)
        lease(4)

        assert seeding.ensure_ahead(key_db_url, 1_000_000) == 256
        assert seeding.ensure_ahead(key_db_url, 1_000_000) == 0

    def test_counts_blocks_that_can_be_leased_again(self, key_db_url, sql, lease):
        """Blocks that have rested are as good as new ones."""
        seeding.ensure_ahead(key_db_url, 1024)
        lease(4)
        sql("UPDATE key_lease SET at = at - key_rest() WHERE id < 3")

        assert seeding.ensure_ahead(key_db_url, 1024) == 256

    def test_fills_beyond_a_fence(self, key_db_url, sql):
        """Blocks that were fenced before they are filled do not count."""
        seeding.ensure_ahead(key_db_url, 1024)
        fencing.skip(key_db_url, fencing.plan_blocks(key_db_url, 10))

        assert seeding.ensure_ahead(key_db_url, 1024) == 256 * 10
        assert seeded(sql) == 14


@pytest.mark.parametrize(
    "statement, advice",
    [
        ("RAISE EXCEPTION USING ERRCODE = 'disk_full', MESSAGE = 'no space left'", "free some disk space"),
        ("RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', MESSAGE = 'denied'", "migrate"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_to_do(kgs, sql, key_db_url, statement, advice):
    """No space, no permission: the reason, what helps, and a table that the next run can use."""
    sql(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {statement}; END$$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON key_block EXECUTE FUNCTION refuse()"
    )

    code, _, errors = kgs("seed", "--count", 256)

    assert code == 1
    assert advice in errors.splitlines()[-1]
    assert "Traceback" not in errors
    sql("DROP FUNCTION refuse CASCADE")
    fill(key_db_url, 1)
    assert damage(key_db_url) == []


def test_the_cursor_cannot_pass_the_last_block(sql):
    """The schema itself knows how many keys there are."""
    with pytest.raises(psycopg2.errors.CheckViolation):
        sql("UPDATE key_cursor SET seeded = %s", blocks.ALL_BLOCKS + 1)
