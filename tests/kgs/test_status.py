"""What the operator is told about the key table."""

import json

from kgs import status
from tests.kgs.conftest import fill


def test_of_an_empty_table(kgs):
    """Nothing is seeded, leased or left, and nothing can be said about the rate."""
    code, output, _ = kgs("status", "--json")

    assert code == 0
    assert json.loads(output) == {
        "all": 1 << 30,
        "seeded": 0,
        "leased": 0,
        "left": 0,
        "leased_last_day": 0,
        "seconds_left": None,
    }


def test_the_rest_lasts_as_long_as_at_the_rate_of_the_last_day(kgs, sql, key_db_url, lease):
    """Ten blocks seeded, one leased today and one the day before yesterday: the rest lasts eight days."""
    fill(key_db_url, 10)
    lease()
    sql("UPDATE key_lease SET at = now() - interval '2 days'")
    lease()

    current = status.status(key_db_url)
    _, text, _ = kgs("status")

    assert (current.seeded, current.leased, current.left) == (2560, 512, 2048)
    assert (current.leased_last_day, current.seconds_left) == (256, 8 * 86400)
    assert "they last 8 days at the rate of the last day" in text


def test_after_a_fence_beyond_the_last_block_nothing_is_left(sql, key_db_url):
    """Blocks that are skipped before they are seeded do not make the rest negative."""
    fill(key_db_url, 1)
    sql("UPDATE key_cursor SET next = 5")

    assert status.status(key_db_url).left == 0
