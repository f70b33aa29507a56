"""Putting and revealing messages, by token and by proofs, with and without a passphrase."""

import contextlib
from datetime import timedelta

import pytest

from server import sealing
from server.database import Database
from server.messages import Messages, Proofs, Revealed, Token
from server.notes import Ended, Note, Notes, PassphraseNeeded, TooManyTries, WrongPassphrase
from tests.server.test_notes import Keys

pytestmark = pytest.mark.gen_test

HOUR = timedelta(hours=1)
HELLO = Revealed("hello", None)


@contextlib.asynccontextmanager
async def opened(url):
    """Messages over the database at `url`, within the running loop."""
    async with opened_with_database(url) as (messages, _):
        yield messages


@contextlib.asynccontextmanager
async def opened_with_database(url):
    """The same, and their database."""
    database = Database(url, 4, 5.0)
    messages = Messages(Notes(database, Keys()))
    try:
        yield messages, database
    finally:
        messages.close()
        await database.close()


def sealed_note(keys, message="hello", has_passphrase=False):
    sealed = sealing.seal(keys, message)
    return Note(keys.link_verifier, keys.reveal_verifier, sealed, has_passphrase, HOUR)


async def test_a_message_comes_back_exactly_and_once(msg_db_url):
    """Its token reveals it; after that the token shows that it was read."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.put("häl\r\nlo \x00 👋", "", HOUR)

        assert await messages.reveal(placed.key, Token(token)) == ("häl\r\nlo \x00 👋", None)
        with pytest.raises(Ended) as ended:
            await messages.reveal(placed.key, Token(token))
        assert ended.value.ending.how == "read"


async def test_proofs_reveal_the_sealed_bytes(msg_db_url):
    """A client that opens notes itself gets the sealed bytes, and the server learns nothing."""
    keys = sealing.derive_keys(sealing.new_token())
    note = sealed_note(keys)
    async with opened(msg_db_url) as messages:
        placed = await messages.put_sealed(note)

        claim = Proofs(keys.link_proof, keys.reveal_proof)
        assert await messages.reveal(placed.key, claim) == (None, note.sealed)


async def test_the_server_opens_what_a_client_has_sealed(msg_db_url):
    """A link with # and a link with / have the same token."""
    token = sealing.new_token()
    async with opened(msg_db_url) as messages:
        placed = await messages.put_sealed(sealed_note(sealing.derive_keys(token)))

        assert await messages.reveal(placed.key, Token(token)) == HELLO


async def test_a_wrong_token_reveals_nothing_and_destroys_nothing(msg_db_url):
    """The right token still reveals the note afterwards."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.put("hello", "", HOUR)
        other = sealing.new_token()

        assert await messages.reveal(placed.key, Token(other)) is None
        assert await messages.status(placed.key, sealing.link_proof_of(other)) is None
        assert await messages.destroy(placed.key, sealing.link_proof_of(other)) is False
        assert await messages.reveal(placed.key, Token(token)) == HELLO


async def test_a_passphrase_is_asked_for_and_a_wrong_one_destroys_nothing(msg_db_url):
    """No passphrase costs no try, a wrong one costs one, and the right one opens the message."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.put("hello", "open sesame", HOUR)

        for passphrase in ("", " \t"):
            with pytest.raises(PassphraseNeeded):
                await messages.reveal(placed.key, Token(token, passphrase))
        with pytest.raises(WrongPassphrase) as wrong:
            await messages.reveal(placed.key, Token(token, "sesame"))
        assert wrong.value.tries_left == 9
        assert await messages.reveal(placed.key, Token(token, " open sesame ")) == HELLO


async def test_tokens_and_proofs_share_the_tries_of_a_note(msg_db_url):
    """Ten wrong ones in either way are all there are, and then nothing is stretched."""
    token = sealing.new_token()
    keys = sealing.derive_keys(token, sealing.stretch(token, "open sesame"))
    async with opened(msg_db_url) as messages:
        placed = await messages.put_sealed(sealed_note(keys, has_passphrase=True))
        for _ in range(9):
            with pytest.raises(WrongPassphrase):
                await messages.reveal(placed.key, Proofs(keys.link_proof, bytes(32)))
        with pytest.raises(WrongPassphrase):
            await messages.reveal(placed.key, Token(token, "sesame"))

        messages.close()  # any stretching would raise
        with pytest.raises(TooManyTries):
            await messages.reveal(placed.key, Token(token, "open sesame"))
        with pytest.raises(TooManyTries):
            await messages.reveal(placed.key, Proofs(keys.link_proof, keys.reveal_proof))
        assert (await messages.status(placed.key, keys.link_proof)).wrong_passphrases == 10


async def test_the_sender_can_destroy_a_message_without_its_passphrase(msg_db_url):
    """The receipt that comes back with the token is enough."""
    async with opened(msg_db_url) as messages:
        placed, _, receipt = await messages.put("hello", "open sesame", HOUR)

        assert await messages.destroy(placed.key, sealing.from_text(receipt[:43]))


async def test_a_receipt_opens_nothing_and_checks_the_mark(msg_db_url):
    """It holds the link proof and the hash of the mark that only the reader's seal key gives."""
    async with opened(msg_db_url) as messages:
        placed, token, receipt = await messages.put("hello", "", HOUR)
        link_proof, mark_verifier = sealing.from_text(receipt[:43]), sealing.from_text(receipt[43:])

        with pytest.raises(WrongPassphrase):
            await messages.reveal(placed.key, Proofs(link_proof, mark_verifier))
        await messages.reveal(placed.key, Token(token), b"r" * 32)
        assert await messages.received(placed.key, b"r" * 32, sealing.derive_keys(token).mark)
        ending = await messages.status(placed.key, link_proof)
        assert sealing.verifier_of(ending.mark) == mark_verifier


@pytest.mark.parametrize(("passphrase", "sent"), [("", ""), ("", "x"), ("open sesame", "open sesame")])
async def test_a_reader_gets_the_message_again_until_it_has_received_it(msg_db_url, passphrase, sent):
    """The server opens it again for the same reader, and tells others that it was read."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.put("hello", passphrase, HOUR)
        claim, reader = Token(token, sent), b"r" * 32

        assert await messages.reveal(placed.key, claim, reader) == HELLO
        assert await messages.reveal(placed.key, claim, reader) == HELLO
        with pytest.raises(Ended):
            await messages.reveal(placed.key, claim, b"o" * 32)
        assert await messages.received(placed.key, reader, None)
        with pytest.raises(Ended):
            await messages.reveal(placed.key, claim, reader)


async def test_a_passphrase_that_is_not_needed_does_no_harm(msg_db_url):
    """A note without one is revealed all the same, and nothing is stretched for it."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.put("hello", "", HOUR)
        messages.close()  # any stretching would raise

        assert await messages.reveal(placed.key, Token(token, "x")) == HELLO


async def test_a_passphrase_of_white_space_is_none(msg_db_url):
    """The note is put without one, and its link alone opens it."""
    async with opened(msg_db_url) as messages:
        placed, token, _ = await messages.put("hello", " \u3000\n", HOUR)

        assert (await messages.status(placed.key, sealing.link_proof_of(token))).has_passphrase is False
        assert await messages.reveal(placed.key, Token(token)) == HELLO


async def test_no_passphrase_is_stretched_for_a_client_without_the_link(msg_db_url):
    """Guessing keys and links with passphrases costs the server no work, and counts nowhere."""
    async with opened_with_database(msg_db_url) as (messages, database):
        placed, _, _ = await messages.put("hello", "open sesame", HOUR)
        messages.close()  # any stretching would raise

        claim = Token(sealing.new_token(), "x")
        assert await messages.reveal("nokey", claim) is None
        assert await messages.reveal(placed.key, claim) is None
        assert await database.execute("SELECT tries FROM note") == [(0,)]


async def test_a_wrongly_sealed_note_is_gone_after_its_reveal(msg_db_url):
    """If its bytes do not open with its own token, the error says so, once."""
    token = sealing.new_token()
    keys = sealing.derive_keys(token)
    async with opened(msg_db_url) as messages:
        junk = Note(keys.link_verifier, keys.reveal_verifier, b"\x02" + bytes(284), False, HOUR)
        placed = await messages.put_sealed(junk)

        with pytest.raises(sealing.SealingError):
            await messages.reveal(placed.key, Token(token))
        with pytest.raises(Ended):
            await messages.reveal(placed.key, Token(token))
