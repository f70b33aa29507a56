"""Passphrases on the server: bounded work, and counts that lock out nobody but who was wrong."""

import asyncio

import pytest

from server import passphrases, sealing
from server.passphrases import MAX_STRETCHES, MAX_WRONG, Busy, Stretcher, WrongPassphrases

TOKEN = sealing.new_token()


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(passphrases, "time", clock)
    return clock


@pytest.mark.gen_test
async def test_it_stretches_as_the_format_says():
    """The same bytes as `sealing.stretch`, from another thread."""
    stretcher = Stretcher()

    assert await stretcher.stretch(TOKEN, "correct horse") == sealing.stretch(TOKEN, "correct horse")
    stretcher.close()


@pytest.mark.gen_test
async def test_only_so_many_are_stretched_at_a_time():
    """Beyond the bound callers are refused at once, and served again afterwards."""
    stretcher = Stretcher()
    under_way = [asyncio.create_task(stretcher.stretch(TOKEN, "p")) for _ in range(MAX_STRETCHES)]
    await asyncio.sleep(0)

    with pytest.raises(Busy):
        await stretcher.stretch(TOKEN, "p")

    await asyncio.gather(*under_way)
    assert len(await stretcher.stretch(TOKEN, "p")) == 32
    stretcher.close()


def test_ten_wrong_ones_lock_an_address_out_of_a_note_for_a_minute(clock):
    """The eleventh try has to wait, and the minute ends."""
    wrong = WrongPassphrases()
    for _ in range(MAX_WRONG):
        assert wrong.locked_for("Ab3_x", "192.0.2.1") == 0
        wrong.add("Ab3_x", "192.0.2.1")

    assert 0 < wrong.locked_for("Ab3_x", "192.0.2.1") <= 61
    clock.now += 60
    assert wrong.locked_for("Ab3_x", "192.0.2.1") == 0


def test_others_are_not_locked_out(clock):
    """Neither another address from that note, nor that address from another note."""
    wrong = WrongPassphrases()
    for _ in range(MAX_WRONG):
        wrong.add("Ab3_x", "192.0.2.1")

    assert wrong.locked_for("Ab3_x", "192.0.2.2") == 0
    assert wrong.locked_for("other", "192.0.2.1") == 0


def test_a_minute_without_mistakes_starts_anew(clock):
    """Nine wrong ones today and one tomorrow lock nobody out."""
    wrong = WrongPassphrases()
    for _ in range(MAX_WRONG - 1):
        wrong.add("Ab3_x", "192.0.2.1")
    clock.now += 60

    wrong.add("Ab3_x", "192.0.2.1")

    assert wrong.locked_for("Ab3_x", "192.0.2.1") == 0


def test_the_table_of_counts_is_bounded(clock, monkeypatch):
    """The oldest counts are forgotten first."""
    monkeypatch.setattr(passphrases, "MAX_COUNTED", 3)
    wrong = WrongPassphrases()
    for _ in range(MAX_WRONG):
        wrong.add("Ab3_x", "192.0.2.1")

    for n in range(3):
        wrong.add("Ab3_x", f"198.51.100.{n}")

    assert wrong.locked_for("Ab3_x", "192.0.2.1") == 0
    assert len(wrong._counts) == 3
