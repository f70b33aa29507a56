"""After a restore, blocks that may have been leased since the backup are skipped."""

from datetime import datetime, timedelta, timezone

import pytest

from kgs import blocks, fencing, status
from kgs.key_db import Refusal
from tests.kgs.conftest import fill

SEEDED = 4096


@pytest.fixture
def leased(key_db_url, sql):
    """The URL of a key-db whose log has 3000 leases in one hour, and 10 in another; all have rested."""
    fill(key_db_url, SEEDED)
    sql(
        "INSERT INTO key_lease (id, at) SELECT id, timestamptz '2026-01-01 10:00Z' + id * interval '1 second'"
        " FROM generate_series(0, 2999) AS id"
    )
    sql(
        "INSERT INTO key_lease (id, at) SELECT id, timestamptz '2026-01-01 12:00Z'"
        " FROM generate_series(3000, 3009) AS id"
    )
    sql("UPDATE key_cursor SET next = 3010")
    return key_db_url


@pytest.fixture
def positions(sql):
    """Read `next` and `again`."""
    return lambda: sql("SELECT next, again FROM key_cursor")[0]


def ago(**interval):
    return datetime.now(timezone.utc) - timedelta(**interval)


@pytest.mark.parametrize("interval, hours", [({"minutes": 10}, 1), ({"minutes": 170}, 3)])
def test_the_busiest_hour_on_record_is_taken_twice_for_every_hour(leased, interval, hours):
    """Hours that have begun count whole."""
    assert fencing.plan_since(leased, ago(**interval)).never_leased.size == 2 * 3000 * hours


def test_a_quiet_service_gets_a_margin_all_the_same(leased, sql):
    """Servers that all start at once lease more than any quiet hour suggests."""
    sql("DELETE FROM key_lease WHERE id > 5")

    assert fencing.plan_since(leased, ago(minutes=1)).never_leased.size == fencing.AT_LEAST


def test_an_earlier_fence_is_no_busy_hour(leased, sql):
    """It logs many blocks at once, but no server leased them."""
    sql("UPDATE key_lease SET at = now() - interval '1 day'")
    fencing.skip(leased, fencing.plan_blocks(leased, 4000))

    assert fencing.plan_since(leased, ago(minutes=10)).never_leased.size == 2 * 3010


def test_it_never_skips_more_than_there_is(leased):
    """At most all blocks that were never leased, and all that have rested."""
    for plan in (fencing.plan_since(leased, ago(days=3650)), fencing.plan_blocks(leased, blocks.ALL_BLOCKS)):
        assert plan.never_leased == (3010, blocks.ALL_BLOCKS - 3010, blocks.ALL_BLOCKS)
        assert plan.to_be_leased_again == (0, 3010, 3010)


def test_it_says_what_it_skips_and_asks(leased, kgs, lease):
    """After a yes, the next lease takes the first block behind the fence."""
    code, output, _ = kgs("fence", "--blocks", 86, said="y\n")

    assert code == 0
    assert "86 blocks, 3,010 to 3,095, as many as you say" in output
    assert "Skip them for 60 days?" in output
    assert lease() == [3096]


@pytest.mark.parametrize("said", ["", "n\n"])
def test_without_a_yes_it_skips_nothing(leased, kgs, positions, said):
    """Anything but yes, and no answer at all, leaves the cursor where it is."""
    code, output, _ = kgs("fence", "--since", "2026-01-01T12:00", said=said)

    assert code == 1
    assert "Nothing was skipped." in output
    assert positions() == (3010, 0)


def test_it_can_be_told_not_to_ask(leased, kgs, positions):
    """For scripts: --yes."""
    code, output, _ = kgs("fence", "--blocks", 1, "--yes")

    assert code == 0
    assert "y/N" not in output
    assert positions() == (3011, 0)


def test_skipped_blocks_come_back_after_their_rest(leased, kgs, sql, lease):
    """A fence is a lease by nobody, and ends like any other."""
    kgs("fence", "--blocks", SEEDED, "--yes")
    assert lease() == []
    sql("UPDATE key_lease SET at = at - key_rest()")

    assert lease(2) == [0, 1]


def test_blocks_not_seeded_yet_are_skipped_too(key_db_url, kgs, lease):
    """Blocks that were seeded after the backup are seeded again, the same, and must not be leased again yet."""
    fill(key_db_url, 100)
    lease()
    code, output, _ = kgs("fence", "--blocks", 2000, "--yes")

    assert code == 0
    assert "2,000 blocks, 1 to 2,000, as many as you say" in output
    assert "Run `python -m kgs seed --all`" in output
    assert lease() == []
    fill(key_db_url, 2003)
    assert lease(16) == [2001, 2002]


def test_blocks_that_may_have_been_leased_again_are_skipped_too(leased, sql, kgs, lease, positions):
    """They are beside those beyond the last filled block, and continue at the ring's beginning."""
    sql("UPDATE key_cursor SET next = 3010, again = 3000, seeded = 3010")

    _, output, _ = kgs("fence", "--blocks", 86, "--yes")

    assert "172 blocks, 3,010 to 3,095 and 3,000 to 75, as many as you say" in output
    assert positions() == (3096, 76)
    assert lease(2) == [76, 77]


def test_blocks_that_still_rest_are_not_skipped(leased, sql, kgs, positions):
    """They cannot have been leased since the backup: their rest would have had to be over."""
    sql("UPDATE key_cursor SET again = 5, seeded = 3010")
    sql("UPDATE key_lease SET at = now() WHERE id < 5 OR id >= 8")

    _, output, _ = kgs("fence", "--blocks", 86, "--yes")

    assert "89 blocks, 3,010 to 3,095 and 5 to 7, as many as you say" in output
    assert positions() == (3096, 8)


def test_servers_that_still_lease_are_noticed(leased, lease):
    """The plan belongs to the cursor as it was: they have to be stopped first."""
    plan = fencing.plan_blocks(leased, 10)
    lease()

    with pytest.raises(Refusal, match="stop them all"):
        fencing.skip(leased, plan)


def test_a_time_in_the_future_is_refused(leased, kgs, positions):
    """No backup can have been taken then: one line, and nothing is skipped."""
    code, _, errors = kgs("fence", "--since", "2999-01-01", "--yes")

    assert code == 1
    assert "lies in the future" in errors
    assert positions() == (3010, 0)


def test_without_a_log_there_is_no_rate(key_db_url):
    """If nothing was ever leased, the operator has to say how many blocks."""
    with pytest.raises(fencing.Unknowable, match="use --blocks"):
        fencing.plan_since(key_db_url, ago(days=1))


@pytest.fixture
def lease_one_by_one(lease):
    """Lease this many blocks, or all that can be leased; returns their ids."""

    def run(most):
        leased = []
        while len(leased) < most and (block := lease()):
            leased += block
        return leased

    return run


@pytest.mark.parametrize("seeded_since", [0, 7])
@pytest.mark.parametrize("leased_since", [3, 12])
def test_nothing_leased_since_the_backup_is_leased_again(
    key_db_url, sql, lease_one_by_one, leased_since, seeded_since
):
    """Whatever the ring's state was at the backup, and whatever was seeded and leased since then."""
    fill(key_db_url, 10 + seeded_since)
    states = [(4, 0, 4), (4, 1, 2), (10, 0, 10), (10, 0, 4), (10, 8, 4), (10, 8, 0), (10, 3, 9)]
    for next_, again, resting in states:

        def restore(seeded):
            sql("UPDATE key_cursor SET next = %s, again = %s, seeded = %s", next_, again, seeded)
            sql("TRUNCATE key_lease")
            sql(  # the ring begins at `again`; its last `resting` blocks have not rested yet
                "INSERT INTO key_lease (id, at)"
                " SELECT mod(%s + i, %s), now() - key_rest() + (i - %s + 0.5) * interval '1 day'"
                " FROM generate_series(0, %s - 1) AS i",
                *(again, next_, next_ - resting, next_),
            )

        restore(10 + seeded_since)
        leased = lease_one_by_one(leased_since)
        restore(10)
        fencing.skip(key_db_url, fencing.plan_blocks(key_db_url, leased_since))
        sql("UPDATE key_cursor SET seeded = %s", 10 + seeded_since)

        assert set(lease_one_by_one(100)).isdisjoint(leased)
        assert status.status(key_db_url).left == 0
