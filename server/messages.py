"""Leaving a message and reading it, for every kind of client; how notes are stored is `notes.py`'s.

Clients that seal and open for themselves send a proof. For the others the server holds the token and
the message as long as one request takes.
"""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import NamedTuple

from server import metrics, sealing
from server.notes import Note, Notes, Peek, Placed
from server.passphrases import Stretcher, WrongPassphrases


class PassphraseNeeded(Exception):
    """The note has a passphrase and none was given; the note is untouched."""


class WrongPassphrase(Exception):
    """The note has a passphrase, and the proof does not fit; the note is untouched."""


class TooManyTries(Exception):
    """This address was wrong too often about this note; `.seconds` says how long to wait."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


@dataclasses.dataclass(frozen=True)
class Claim:
    """What somebody shows to read or destroy a note: a proof, or a token that `is_token`."""

    proof: bytes | None = None
    token: str = ""
    passphrase: str = ""
    address: str = ""  # of the client, for counting wrong passphrases


class Revealed(NamedTuple):
    """A note read: the message where the server opened it, else the sealed bytes for the client to open."""

    message: str | None
    sealed: bytes | None


class Left(NamedTuple):
    """A message that the server sealed: where it lies, its token, and the proof that destroys it unread,
    passphrase or not."""

    placed: Placed
    token: str
    proof: bytes


class Messages:
    """What can be done with messages."""

    def __init__(self, notes: Notes) -> None:
        self.notes = notes
        self._stretcher = Stretcher()
        self._wrong = WrongPassphrases()

    async def leave(self, message: str, passphrase: str, lifetime: timedelta) -> Left:
        """Seal a message and store it; give where, and what opens and destroys it.

        Raises:
            Busy: too many passphrases are being stretched.
            OutOfKeys, Unavailable: as `Notes.put`.
        """
        token = sealing.new_token()
        stretched = await self._stretcher.stretch(token, passphrase) if passphrase else b""
        lock = sealing.lock_of(token, stretched)
        note = Note(lock.verifier, sealing.seal(lock, message), bool(passphrase), lifetime)
        return Left(await self.leave_sealed(note), token, lock.proof)

    async def leave_sealed(self, note: Note) -> Placed:
        """Store what a client has sealed. Raises as `Notes.put` does."""
        placed = await self.notes.put(note)
        metrics.NOTES_PUT.inc()
        return placed

    async def peek(self, key: str) -> Peek | None:
        """What a confirm page says of a note, or None. Raises as `Notes.peek` does."""
        return await self.notes.peek(key)

    async def read(self, key: str, claim: Claim) -> Revealed | None:
        """Reveal a note: it is read by this call and by no other, ever.

        Returns:
            The message or, for a proof, the sealed bytes; None where no note fits.

        Raises:
            PassphraseNeeded, WrongPassphrase, TooManyTries, Busy, Unavailable: the note is untouched.
            SealingError: its sealer did not keep to the format; the note is gone.
        """
        taken = await self._take(key, claim)
        if taken is None:
            return None
        sealed, lock = taken
        metrics.NOTES_REVEALED.inc()
        if lock is None:
            return Revealed(None, sealed)
        return Revealed(sealing.open_sealed(lock, sealed), None)

    async def destroy(self, key: str, claim: Claim) -> bool:
        """Delete a note unread; whether one fitted. Raises as `read` does, but no SealingError."""
        if await self._take(key, claim) is None:
            return False
        metrics.NOTES_DESTROYED.inc()
        return True

    async def _take(self, key: str, claim: Claim) -> tuple[bytes, sealing.Lock | None] | None:
        """Delete the note that the claim fits, and give its sealed bytes and the lock that opens them."""
        seconds = self._wrong.locked_for(key, claim.address)
        if seconds:
            raise TooManyTries(seconds)
        lock = None
        if claim.proof is not None:
            verifier = sealing.verifier_of(claim.proof)
        else:
            stretched = b""
            if claim.passphrase:
                # Stretching is costly: not before it is known that the note needs it. Where there is no
                # note we go on all the same, or the time would tell it from a wrong token.
                if await self.notes.has_passphrase(key):
                    stretched = await self._stretcher.stretch(claim.token, claim.passphrase)
            lock = sealing.lock_of(claim.token, stretched)
            verifier = lock.verifier
        sealed = await self.notes.reveal(key, verifier)
        if sealed is not None:
            return sealed, lock
        if not await self.notes.has_passphrase(key):
            return self._refused()
        if claim.proof is None and not claim.passphrase:
            raise PassphraseNeeded
        self._wrong.add(key, claim.address)
        self._refused()
        raise WrongPassphrase

    @staticmethod
    def _refused() -> None:
        metrics.NOTES_REFUSED.inc()

    def close(self) -> None:
        self._stretcher.close()
