"""Putting and revealing messages, for every kind of client; `notes.py` stores the notes.

Clients that seal and open messages themselves send a proof. For all other clients, the server holds the
token and the message while it handles their request.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import NamedTuple

from server import metrics, sealing
from server.notes import Note, Notes, Peek, Placed
from server.passphrases import Stretcher, WrongPassphrases


class PassphraseNeeded(Exception):
    """The note has a passphrase and the client sent none; the note is untouched."""


class WrongPassphrase(Exception):
    """The note has a passphrase, and the proof does not fit; the note is untouched."""


class TooManyTries(Exception):
    """This address sent too many wrong passphrases for this note; `.seconds` says how long to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclasses.dataclass(frozen=True)
class Claim:
    """What a client sends to reveal or destroy a note: a proof, or a token that `is_token`."""

    proof: bytes | None = None
    token: str = ""
    passphrase: str = ""
    address: str = ""  # of the client, for counting wrong passphrases


class Revealed(NamedTuple):
    """A revealed note: its message if the server opened it, else the sealed bytes for the client to open."""

    message: str | None
    sealed: bytes | None


class PutMessage(NamedTuple):
    """A message that the server sealed and put: where the note is, its token, and the proof that destroys
    it unread, with or without a passphrase."""

    placed: Placed
    token: str
    proof: bytes


class Messages:
    """What clients can do with messages."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._stretcher = Stretcher()
        self._wrong_passphrases = WrongPassphrases()

    async def put(self, message: str, passphrase: str, lifetime: timedelta) -> PutMessage:
        """Seal a message and put the note.

        Raises:
            Busy: too many passphrases are being stretched.
            OutOfKeys, Unavailable: from `Notes.put`.
        """
        token = sealing.new_token()
        stretched = await self._stretcher.stretch(token, passphrase) if passphrase else b""
        keys = sealing.derive_keys(token, stretched)
        note = Note(keys.verifier, sealing.seal(keys, message), bool(passphrase), lifetime)
        return PutMessage(await self.put_sealed(note), token, keys.proof)

    async def put_sealed(self, note: Note) -> Placed:
        """Put a note that the client has sealed. Raises the same errors as `Notes.put`."""
        placed = await self._notes.put(note)
        metrics.NOTES_PUT.inc()
        return placed

    async def peek(self, key: str) -> Peek | None:
        """What the confirm page says about a note, or None. Raises the same errors as `Notes.peek`."""
        return await self._notes.peek(key)

    async def reveal(self, key: str, claim: Claim) -> Revealed | None:
        """Reveal a note to this caller and to no other, ever.

        Returns:
            The message, or for a proof the sealed bytes; None if no note fits.

        Raises:
            PassphraseNeeded, WrongPassphrase, TooManyTries, Busy, Unavailable: the note is untouched.
            SealingError: the client that sealed the note did not keep to the format; the note is gone.
        """
        revealed = await self._reveal_sealed(key, claim)
        if revealed is None:
            return None
        sealed, keys = revealed
        metrics.NOTES_REVEALED.inc()
        if keys is None:
            return Revealed(None, sealed)
        return Revealed(sealing.open_sealed(keys, sealed), None)

    async def destroy(self, key: str, claim: Claim) -> bool:
        """Delete a note unread, and return whether one fitted.

        Raises the same errors as `reveal`, but no SealingError.
        """
        if await self._reveal_sealed(key, claim) is None:
            return False
        metrics.NOTES_DESTROYED.inc()
        return True

    async def _reveal_sealed(self, key: str, claim: Claim) -> tuple[bytes, sealing.DerivedKeys | None] | None:
        """Delete the note that fits the claim; return its sealed bytes and, for a token, the keys to open it."""
        seconds = self._wrong_passphrases.seconds_to_wait(key, claim.address)
        if seconds:
            raise TooManyTries(seconds)
        keys = None
        if claim.proof is not None:
            verifier = sealing.verifier_of(claim.proof)
        else:
            stretched = b""
            if claim.passphrase:
                # Stretching is costly, so only if the note needs it. If there is no note, continue all the
                # same, or the time would tell that case from a wrong token.
                if await self._notes.has_passphrase(key):
                    stretched = await self._stretcher.stretch(claim.token, claim.passphrase)
            keys = sealing.derive_keys(claim.token, stretched)
            verifier = keys.verifier
        sealed = await self._notes.reveal(key, verifier)
        if sealed is not None:
            return sealed, keys
        if not await self._notes.has_passphrase(key):
            metrics.NOTES_REFUSED.inc()
            return None
        if claim.proof is None and not claim.passphrase:
            raise PassphraseNeeded
        self._wrong_passphrases.add(key, claim.address)
        metrics.NOTES_REFUSED.inc()
        raise WrongPassphrase

    def close(self) -> None:
        self._stretcher.close()
