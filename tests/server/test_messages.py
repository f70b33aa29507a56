"""Leaving and reading messages, by token and by proof, with and without a passphrase."""

import contextlib
from datetime import timedelta

import pytest

from server import sealing
from server.database import Database
from server.messages import Claim, Messages, PassphraseNeeded, TooManyTries, WrongPassphrase
from server.notes import Note, Notes
from server.passphrases import MAX_WRONG
from tests.server.test_notes import Keys

pytestmark = pytest.mark.gen_test

HOUR = timedelta(hours=1)


@contextlib.asynccontextmanager
async def opened(url):
    """Messages over the database at `url`, within the running loop."""
    database = Database(url, 4, 5.0)
    messages = Messages(Notes(database, Keys()))
    try:
        yield messages
    finally:
        messages.close()
        await database.close()


async def test_a_message_comes_back_exactly_and_once(msg_db_url):
    """With its token, it is read; after that there is nothing."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.leave("häl\r\nlo \x00 👋", "", HOUR)
        claim = Claim(token=token)

        assert await messages.read(placed.key, claim) == ("häl\r\nlo \x00 👋", None)
        assert await messages.read(placed.key, claim) is None


async def test_a_proof_gets_the_sealed_bytes(msg_db_url):
    """A client that opens for itself gets what was sealed, and the server learns nothing."""
    lock = sealing.lock_of(sealing.new_token())
    sealed = sealing.seal(lock, "hello")
    async with opened(msg_db_url) as messages:
        placed = await messages.leave_sealed(Note(lock.verifier, sealed, False, HOUR))

        assert await messages.read(placed.key, Claim(proof=lock.proof)) == (None, sealed)


async def test_the_server_opens_what_a_client_has_sealed(msg_db_url):
    """A link with # is the same lock as a link with /."""
    token = sealing.new_token()
    lock = sealing.lock_of(token)
    async with opened(msg_db_url) as messages:
        note = Note(lock.verifier, sealing.seal(lock, "hello"), False, HOUR)
        placed = await messages.leave_sealed(note)

        assert await messages.read(placed.key, Claim(token=token)) == ("hello", None)


async def test_a_wrong_token_gets_nothing_and_destroys_nothing(msg_db_url):
    """The right one still reads the note afterwards."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.leave("hello", "", HOUR)

        assert await messages.read(placed.key, Claim(token=sealing.new_token())) is None
        assert await messages.destroy(placed.key, Claim(token=sealing.new_token())) is False
        assert await messages.read(placed.key, Claim(token=token)) == ("hello", None)


async def test_a_passphrase_is_asked_for_and_a_wrong_one_destroys_nothing(msg_db_url):
    """None, a wrong one, the right one."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.leave("hello", "open sesame", HOUR)

        with pytest.raises(PassphraseNeeded):
            await messages.read(placed.key, Claim(token=token))
        with pytest.raises(WrongPassphrase):
            await messages.read(placed.key, Claim(token=token, passphrase="sesame"))
        with pytest.raises(WrongPassphrase):
            await messages.destroy(placed.key, Claim(token=token, passphrase="sesame"))
        claim = Claim(token=token, passphrase="open sesame")
        assert await messages.read(placed.key, claim) == ("hello", None)


async def test_who_left_a_message_can_destroy_it_without_its_passphrase(msg_db_url):
    """The proof that comes back with the token is enough."""
    async with opened(msg_db_url) as messages:
        placed, _, proof = await messages.leave("hello", "open sesame", HOUR)

        assert await messages.destroy(placed.key, Claim(proof=proof))


async def test_a_passphrase_that_is_not_needed_does_no_harm(msg_db_url):
    """A note without one is read all the same, and nothing is stretched for it."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.leave("hello", "", HOUR)

        assert await messages.read(placed.key, Claim(token=token, passphrase="x")) == ("hello", None)


async def test_no_passphrase_is_stretched_for_a_note_that_is_not_there(msg_db_url):
    """Guessing keys with passphrases costs the server no work."""
    async with opened(msg_db_url) as messages:
        messages._stretcher.close()  # any use would raise

        claim = Claim(token=sealing.new_token(), passphrase="x")
        assert await messages.read("nokey", claim) is None


async def test_too_many_wrong_proofs_lock_that_address_out(msg_db_url):
    """After ten wrong passphrases even the right one waits, from that address only."""
    lock, wrong = sealing.lock_of(sealing.new_token()), sealing.lock_of(sealing.new_token())
    async with opened(msg_db_url) as messages:
        note = Note(lock.verifier, sealing.seal(lock, "hello"), True, HOUR)
        placed = await messages.leave_sealed(note)
        for _ in range(MAX_WRONG):
            with pytest.raises(WrongPassphrase):
                await messages.read(placed.key, Claim(proof=wrong.proof, address="192.0.2.1"))

        with pytest.raises(TooManyTries):
            await messages.read(placed.key, Claim(proof=lock.proof, address="192.0.2.1"))
        assert await messages.read(placed.key, Claim(proof=lock.proof, address="192.0.2.2"))


async def test_what_was_sealed_wrongly_is_gone_and_said_to_be(msg_db_url):
    """A note whose bytes do not open with its own token cannot be read by anybody."""
    token = sealing.new_token()
    async with opened(msg_db_url) as messages:
        junk = Note(sealing.lock_of(token).verifier, b"\x01" + bytes(284), False, HOUR)
        placed = await messages.leave_sealed(junk)

        with pytest.raises(sealing.SealingError):
            await messages.read(placed.key, Claim(token=token))
        assert await messages.read(placed.key, Claim(token=token)) is None
