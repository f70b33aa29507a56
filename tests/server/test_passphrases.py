"""Passphrases on the server: the work is bounded, and each client has a share."""

import asyncio

import pytest

from server import sealing
from server.passphrases import MAX_STRETCHES, MAX_STRETCHES_OF_CLIENT, Busy, Stretcher

TOKEN = sealing.new_token()

pytestmark = pytest.mark.gen_test


@pytest.fixture
def stretcher():
    stretcher = Stretcher()
    yield stretcher
    stretcher.close()


async def test_it_stretches_as_the_format_says(stretcher):
    """The same bytes as `sealing.stretch`, from another thread."""
    assert await stretcher.stretch(TOKEN, "correct horse", "") == sealing.stretch(TOKEN, "correct horse")


async def test_the_number_of_stretches_is_bounded(stretcher):
    """Further callers are refused at once, and served again afterwards."""
    running = [
        asyncio.create_task(stretcher.stretch(TOKEN, "p", f"192.0.2.{n}")) for n in range(MAX_STRETCHES)
    ]
    await asyncio.sleep(0)

    with pytest.raises(Busy):
        await stretcher.stretch(TOKEN, "p", "198.51.100.1")

    await asyncio.gather(*running)
    assert len(await stretcher.stretch(TOKEN, "p", "198.51.100.1")) == 32


async def test_one_client_does_not_take_all_of_them(stretcher):
    """It has a share; another client is served at the same time."""
    address, other = "192.0.2.1", "192.0.2.2"
    running = [
        asyncio.create_task(stretcher.stretch(TOKEN, "p", address)) for _ in range(MAX_STRETCHES_OF_CLIENT)
    ]
    await asyncio.sleep(0)

    with pytest.raises(Busy):
        await stretcher.stretch(TOKEN, "p", address)
    assert len(await stretcher.stretch(TOKEN, "p", other)) == 32

    await asyncio.gather(*running)
    assert len(await stretcher.stretch(TOKEN, "p", address)) == 32
