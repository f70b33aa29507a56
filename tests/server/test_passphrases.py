"""Passphrases on the server: bounded work, and counts that lock out only the address that was wrong."""

import asyncio

import pytest

from server import sealing
from server.passphrases import MAX_COUNTED, MAX_STRETCHES, MAX_WRONG, Busy, Stretcher, WrongPassphrases

TOKEN = sealing.new_token()


class Clock:
    """A clock that stands still until a test moves it."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.mark.gen_test
async def test_it_stretches_as_the_format_says():
    """The same bytes as `sealing.stretch`, from another thread."""
    stretcher = Stretcher()

    assert await stretcher.stretch(TOKEN, "correct horse") == sealing.stretch(TOKEN, "correct horse")
    stretcher.close()


@pytest.mark.gen_test
async def test_the_number_of_stretches_is_bounded():
    """Further callers are refused at once, and served again afterwards."""
    stretcher = Stretcher()
    running = [asyncio.create_task(stretcher.stretch(TOKEN, "p")) for _ in range(MAX_STRETCHES)]
    await asyncio.sleep(0)

    with pytest.raises(Busy):
        await stretcher.stretch(TOKEN, "p")

    await asyncio.gather(*running)
    assert len(await stretcher.stretch(TOKEN, "p")) == 32
    stretcher.close()


def test_ten_wrong_passphrases_lock_an_address_out_of_a_note_for_a_minute(clock):
    """The eleventh try has to wait until the minute is over."""
    wrong = WrongPassphrases(clock)
    for _ in range(MAX_WRONG):
        assert wrong.seconds_to_wait("Ab3_x", "192.0.2.1") == 0
        wrong.add("Ab3_x", "192.0.2.1")

    assert 0 < wrong.seconds_to_wait("Ab3_x", "192.0.2.1") <= 61
    clock.now += 60
    assert wrong.seconds_to_wait("Ab3_x", "192.0.2.1") == 0


def test_others_are_not_locked_out(clock):
    """Neither another address from that note, nor that address from another note."""
    wrong = WrongPassphrases(clock)
    for _ in range(MAX_WRONG):
        wrong.add("Ab3_x", "192.0.2.1")

    assert wrong.seconds_to_wait("Ab3_x", "192.0.2.2") == 0
    assert wrong.seconds_to_wait("other", "192.0.2.1") == 0


def test_after_a_minute_without_mistakes_the_count_starts_over(clock):
    """Nine wrong passphrases today and one tomorrow lock nobody out."""
    wrong = WrongPassphrases(clock)
    for _ in range(MAX_WRONG - 1):
        wrong.add("Ab3_x", "192.0.2.1")
    clock.now += 60

    wrong.add("Ab3_x", "192.0.2.1")

    assert wrong.seconds_to_wait("Ab3_x", "192.0.2.1") == 0


def test_the_table_of_counts_is_bounded(clock):
    """The oldest counts are forgotten first."""
    wrong = WrongPassphrases(clock)
    for _ in range(MAX_WRONG):
        wrong.add("Ab3_x", "192.0.2.1")

    for n in range(MAX_COUNTED):
        wrong.add("Ab3_x", f"2001:db8::{n:x}")

    assert wrong.seconds_to_wait("Ab3_x", "192.0.2.1") == 0
