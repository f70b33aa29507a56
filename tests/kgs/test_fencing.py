"""After a restore, the cursor moves past what may have been leased since the back-up."""

from datetime import datetime, timedelta, timezone

import pytest

from kgs import blocks, fencing
from tests.kgs.conftest import fill

SEEDED = 4096


@pytest.fixture
def leased(key_db_url, sql):
    """The URL of a key-db whose log has 3000 leases in one hour, and 10 in another."""
    fill(key_db_url, SEEDED)
    sql(
        "INSERT INTO key_lease SELECT id, timestamptz '2026-01-01 10:00Z' + id * interval '1 second'"
        " FROM generate_series(0, 2999) AS id"
    )
    sql(
        "INSERT INTO key_lease SELECT id, timestamptz '2026-01-01 12:00Z'"
        " FROM generate_series(3000, 3009) AS id"
    )
    sql("UPDATE key_cursor SET next = 3010")
    return key_db_url


def ago(**interval):
    return datetime.now(timezone.utc) - timedelta(**interval)


@pytest.mark.parametrize("interval, hours", [({"minutes": 10}, 1), ({"minutes": 170}, 3)])
def test_the_busiest_hour_on_record_is_taken_twice_for_every_hour(leased, interval, hours):
    """Hours that have begun count whole."""
    assert fencing.plan_since(leased, ago(**interval)).skip == 2 * 3000 * hours


def test_a_quiet_service_gets_a_margin_all_the_same(leased, sql):
    """Servers that are all started at once lease more than any quiet hour foretells."""
    sql("DELETE FROM key_lease WHERE id > 5")

    assert fencing.plan_since(leased, ago(minutes=1)).skip == fencing.AT_LEAST


def test_it_never_skips_more_than_there_is(leased):
    """At the end of the table it ends."""
    assert fencing.plan_since(leased, ago(days=3650)).skip == blocks.ALL_BLOCKS - 3010
    assert fencing.plan_blocks(leased, blocks.ALL_BLOCKS).skip == blocks.ALL_BLOCKS - 3010


def test_it_says_what_it_skips_and_asks(leased, kgs, lease):
    """Yes moves the cursor; the next lease takes the first block after the fence."""
    code, output, _ = kgs("fence", "--blocks", 86, said="y\n")

    assert code == 0
    assert "86 blocks, 3,010 to 3,095, as many as you say" in output
    assert lease() == [3096]


@pytest.mark.parametrize("said", ["", "n\n"])
def test_without_a_yes_it_skips_nothing(leased, kgs, sql, said):
    """Anything but yes, and no answer at all, leaves the cursor where it is."""
    code, output, _ = kgs("fence", "--since", "2026-01-01T12:00", said=said)

    assert code == 1
    assert "Nothing was skipped." in output
    assert sql("SELECT next FROM key_cursor") == [(3010,)]


def test_it_can_be_told_not_to_ask(leased, kgs, sql):
    """For scripts: --yes."""
    code, output, _ = kgs("fence", "--blocks", 1, "--yes")

    assert code == 0
    assert "y/N" not in output
    assert sql("SELECT next FROM key_cursor") == [(3011,)]


def test_blocks_not_seeded_yet_are_skipped_too(leased, kgs, lease):
    """What was seeded after the back-up is seeded again, the same, and must not be leased again."""
    code, output, _ = kgs("fence", "--blocks", 2000, "--yes")

    assert code == 0
    assert "run `python -m kgs seed --all`" in output
    assert lease() == []
    fill(leased, 5011)
    assert lease() == [5010]


def test_a_time_in_the_future_is_refused(leased, kgs, sql):
    """No back-up can have been taken then: one line, and nothing is skipped."""
    code, _, errors = kgs("fence", "--since", "2999-01-01", "--yes")

    assert code == 1
    assert "lies in the future" in errors
    assert sql("SELECT next FROM key_cursor") == [(3010,)]


def test_without_a_log_there_is_no_rate(key_db_url):
    """Where nothing was ever leased the operator has to say how far."""
    with pytest.raises(fencing.Unknowable, match="use --blocks"):
        fencing.plan_since(key_db_url, ago(days=1))
