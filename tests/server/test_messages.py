"""Putting and revealing messages, by token and by proof, with and without a passphrase."""

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
    """Its token reveals it; after that there is nothing."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.put("häl\r\nlo \x00 👋", "", HOUR)
        claim = Claim(token=token)

        assert await messages.reveal(placed.key, claim) == ("häl\r\nlo \x00 👋", None)
        assert await messages.reveal(placed.key, claim) is None


async def test_a_proof_reveals_the_sealed_bytes(msg_db_url):
    """A client that opens notes itself gets the sealed bytes, and the server learns nothing."""
    keys = sealing.derive_keys(sealing.new_token())
    sealed = sealing.seal(keys, "hello")
    async with opened(msg_db_url) as messages:
        placed = await messages.put_sealed(Note(keys.verifier, sealed, False, HOUR))

        assert await messages.reveal(placed.key, Claim(proof=keys.proof)) == (None, sealed)


async def test_the_server_opens_what_a_client_has_sealed(msg_db_url):
    """A link with # and a link with / have the same token."""
    token = sealing.new_token()
    keys = sealing.derive_keys(token)
    async with opened(msg_db_url) as messages:
        note = Note(keys.verifier, sealing.seal(keys, "hello"), False, HOUR)
        placed = await messages.put_sealed(note)

        assert await messages.reveal(placed.key, Claim(token=token)) == ("hello", None)


async def test_a_wrong_token_reveals_nothing_and_destroys_nothing(msg_db_url):
    """The right token still reveals the note afterwards."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.put("hello", "", HOUR)

        assert await messages.reveal(placed.key, Claim(token=sealing.new_token())) is None
        assert await messages.destroy(placed.key, Claim(token=sealing.new_token())) is False
        assert await messages.reveal(placed.key, Claim(token=token)) == ("hello", None)


async def test_a_passphrase_is_asked_for_and_a_wrong_one_destroys_nothing(msg_db_url):
    """No passphrase, a wrong one, then the right one."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.put("hello", "open sesame", HOUR)

        with pytest.raises(PassphraseNeeded):
            await messages.reveal(placed.key, Claim(token=token))
        with pytest.raises(WrongPassphrase):
            await messages.reveal(placed.key, Claim(token=token, passphrase="sesame"))
        with pytest.raises(WrongPassphrase):
            await messages.destroy(placed.key, Claim(token=token, passphrase="sesame"))
        claim = Claim(token=token, passphrase="open sesame")
        assert await messages.reveal(placed.key, claim) == ("hello", None)


async def test_the_sender_can_destroy_a_message_without_its_passphrase(msg_db_url):
    """The proof that comes back with the token is enough."""
    async with opened(msg_db_url) as messages:
        placed, _, proof = await messages.put("hello", "open sesame", HOUR)

        assert await messages.destroy(placed.key, Claim(proof=proof))


async def test_a_passphrase_that_is_not_needed_does_no_harm(msg_db_url):
    """A note without one is revealed all the same, and nothing is stretched for it."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.put("hello", "", HOUR)

        assert await messages.reveal(placed.key, Claim(token=token, passphrase="x")) == ("hello", None)


async def test_no_passphrase_is_stretched_for_a_missing_note(msg_db_url):
    """Guessing keys with passphrases costs the server no work."""
    async with opened(msg_db_url) as messages:
        messages.close()  # any stretching would raise

        claim = Claim(token=sealing.new_token(), passphrase="x")
        assert await messages.reveal("nokey", claim) is None


async def test_too_many_wrong_proofs_lock_that_address_out(msg_db_url):
    """After ten wrong passphrases even the right one waits, from that address only."""
    keys, wrong = sealing.derive_keys(sealing.new_token()), sealing.derive_keys(sealing.new_token())
    async with opened(msg_db_url) as messages:
        note = Note(keys.verifier, sealing.seal(keys, "hello"), True, HOUR)
        placed = await messages.put_sealed(note)
        for _ in range(MAX_WRONG):
            with pytest.raises(WrongPassphrase):
                await messages.reveal(placed.key, Claim(proof=wrong.proof, address="192.0.2.1"))

        with pytest.raises(TooManyTries):
            await messages.reveal(placed.key, Claim(proof=keys.proof, address="192.0.2.1"))
        assert await messages.reveal(placed.key, Claim(proof=keys.proof, address="192.0.2.2"))


async def test_a_wrongly_sealed_note_is_gone_after_its_reveal(msg_db_url):
    """If its bytes do not open with its own token, the error says so, once."""
    token = sealing.new_token()
    async with opened(msg_db_url) as messages:
        junk = Note(sealing.derive_keys(token).verifier, b"\x01" + bytes(284), False, HOUR)
        placed = await messages.put_sealed(junk)

        with pytest.raises(sealing.SealingError):
            await messages.reveal(placed.key, Claim(token=token))
        assert await messages.reveal(placed.key, Claim(token=token)) is None
