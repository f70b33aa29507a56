"""What the operator learns about the key table."""

import json

import pytest

from kgs import fencing, status
from tests.kgs.conftest import fill

DAY = 86400


def test_of_an_empty_table(kgs):
    """Nothing is seeded, resting or left, and nothing can be said about the rate."""
    code, output, _ = kgs("status", "--json")

    assert code == 0
    assert json.loads(output) == {
        "all": 1 << 30,
        "seeded": 0,
        "resting": 0,
        "left": 0,
        "leased_last_day": 0,
        "seconds_left": None,
    }


def test_keys_last_as_long_as_at_the_rate_of_the_last_day(kgs, sql, key_db_url, lease):
    """Of ten blocks one was leased today and one the day before yesterday: the other eight last eight days."""
    fill(key_db_url, 10)
    lease()
    sql("UPDATE key_lease SET at = now() - interval '2 days'")
    lease()

    current = status.status(key_db_url)
    _, text, _ = kgs("status")

    assert (current.seeded, current.resting, current.left) == (2560, 512, 2048)
    assert (current.leased_last_day, current.seconds_left) == (256, 8 * DAY)
    assert "they last 8 days at the rate of the last day" in text


def test_at_a_high_rate_keys_last_for_hours(key_db_url, lease):
    """Three of four blocks leased within a day: the fourth lasts for eight hours."""
    fill(key_db_url, 4)
    lease(3)

    assert status.status(key_db_url).seconds_left == 8 * 3600


def test_keys_last_for_ever_if_enough_come_back(kgs, sql, key_db_url, lease):
    """At one block a day 61 blocks are enough, because a block is back after 60 days; 60 are not."""
    fill(key_db_url, 61)
    lease()

    assert status.status(key_db_url).seconds_left is None
    assert "they last for ever at the rate of the last day" in kgs("status")[1]
    sql("UPDATE key_cursor SET seeded = 60")
    assert status.status(key_db_url).seconds_left == 59 * DAY


def test_blocks_that_come_back_soon_are_counted(sql, key_db_url, lease):
    """Of 62 blocks two are left and one comes back each day: that is enough for ever at one block a day."""
    fill(key_db_url, 62)
    while lease(16):
        pass
    sql("UPDATE key_lease SET at = now() - key_rest() + (id + 0.5) * interval '1 day' WHERE id < 59")
    sql("DELETE FROM key_lease WHERE id > 59")

    assert status.status(key_db_url).seconds_left is None


def test_a_fence_is_not_part_of_the_rate(key_db_url, lease):
    """Fenced blocks rest, but no server leased them. Those that are not filled yet count nowhere."""
    fill(key_db_url, 10)
    lease()
    fencing.skip(key_db_url, fencing.plan_blocks(key_db_url, 20))

    current = status.status(key_db_url)

    assert (current.resting, current.left, current.leased_last_day) == (2560, 0, 256)


@pytest.mark.parametrize("seconds, text", [(3 * DAY, "3 days"), (7200, "2 hours"), (7140, "119 minutes")])
def test_a_duration_has_the_largest_unit_that_fits_twice(seconds, text):
    """Days, hours or minutes."""
    current = status.Status(1 << 30, 2560, 256, 2304, 256, seconds)

    assert f"they last {text} at" in status.as_text(current)
