"""The requests of protocol 2: put, status, reveal, received and destroy, of one service.

Answers become values, and refusals Failures. Every answer is checked before it is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from client.failures import Exit, Failure
from client.http import Answer, Connection
from client.links import KEY
from client.settings import TOKEN, URL
from server import sealed_files, sealing
from server.sealing import DerivedKeys, to_text

DELIVERY_SECONDS = 60.0  # that the service repeats a reveal for the same reader
ACKNOWLEDGE_SECONDS = 8.0
PUT_SECONDS = 16.0
FILES_SECONDS = 600.0  # that the network may be lost during an upload or a download
LONGEST_WAIT = 60  # seconds that a service may ask for before its limit counts as a refusal


class Placed(NamedTuple):
    """Where a note was put."""

    key: str
    expires_at: str
    origin: str | None  # that the service names as its own


class Status(NamedTuple):
    """What became of a note, as the service tells it."""

    state: str  # unread, read, destroyed or expired
    at: str  # when it ended, or will expire
    has_passphrase: bool = False
    wrong_passphrases: int = 0
    seconds_to_wait: int = 0  # until the next try of a passphrase
    mark: bytes | None = None  # the reader's
    file_bytes: int = 0  # of all files together, padded
    seconds_ago: float = 0.0  # since it ended, by the clock of the service


class WrongPassphrase(Exception):
    """The note is untouched."""

    def __init__(self, detail: str, tries_left: int) -> None:
        super().__init__(detail)
        self.detail = detail
        self.tries_left = tries_left


class Incomplete(Exception):
    """Chunks of an upload are missing, from the number `next` on."""

    def __init__(self, next_: int) -> None:
        super().__init__(next_)
        self.next = next_


class Service:
    """One service, and the access token for it if it has one."""

    def __init__(self, connection: Connection, token: str | None = None) -> None:
        self._connection = connection
        self._token = token
        self.origin = connection.origin

    def put(
        self,
        keys: DerivedKeys,
        sealed: bytes,
        has_passphrase: bool,
        lifetime: int | None,
        upload: bytes | None = None,
    ) -> Placed:
        """Put a sealed note. If an answer is lost, a second note is put, and nobody has the link of the first.

        Args:
            lifetime: in seconds; None leaves it to the service.
            upload: the nonce of an upload, whose files the note gets; then there is never a second note.

        Raises:
            Incomplete: chunks of the upload are missing; nothing was put.
            Failure: no answer, or the service refuses.
        """
        fields: dict[str, Any] = {
            "sealed": to_text(sealed),
            "link_verifier": to_text(keys.link_verifier),
            "reveal_verifier": to_text(keys.reveal_verifier),
            "has_passphrase": has_passphrase,
        }
        if lifetime is not None:
            fields["lifetime"] = lifetime
        if upload is not None:
            fields["upload"] = to_text(upload)
        patience = PUT_SECONDS if upload is None else FILES_SECONDS
        answer = self._connection.post("/post", fields, self._headers, patience)
        key, expires_at = answer.member("key", str), answer.member("expires_at", str)
        next_ = answer.member("next", int)
        if answer.status == 409 and upload is not None and next_ is not None and next_ >= 0:
            raise Incomplete(next_)
        if answer.status != 201:
            raise self._refusal(answer)
        if key is None or expires_at is None or not KEY.fullmatch(key):
            raise _not_understood()
        url = answer.member("url", str) or ""
        return Placed(key, expires_at, url[: -len(key) - 1] if url.endswith(f"/{key}") else None)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _refusal(self, answer: Answer) -> Failure:
        """Why a put was refused, with what concerns the token."""
        failure = failure_of(answer)
        if answer.status == 401 and self._token:
            failure.detail += f" The token in {TOKEN} was sent; it is not one of this service."
        elif answer.status == 401:
            failure.detail += (
                f" With this command, the token is set as {TOKEN}, and is sent to the service in {URL} only:"
                " see note-whisperer send --help."
            )
        return failure

    def begin_upload(self, upload: bytes, file_bytes: int) -> None:
        """Begin to upload files; all of them together have this many bytes, padded. Raises Failure."""
        fields = {"upload": to_text(upload), "file_bytes": file_bytes}
        answer = self._connection.post("/upload", fields, self._headers)
        if answer.status != 200:
            raise self._refusal(answer)

    def put_chunks(self, upload: bytes, first: int, chunks: bytes) -> None:
        """Upload chunks of files, from the number `first` on. Raises Failure."""
        body = upload + first.to_bytes(sealed_files.NUMBER_BYTES, "big") + chunks
        answer = self._post_patiently("/upload/chunks", body)
        if answer.status != 204:
            raise failure_of(answer)

    def chunks(self, key: str, reader: bytes, first: int) -> bytes:
        """Some chunks of the files that this reader has revealed, from the number `first` on. Raises Failure."""
        answer = self._post_patiently(f"/{key}/chunks", {"reader": to_text(reader), "first": first})
        if answer.status != 200:
            raise failure_of(answer)
        return answer.content

    def _post_patiently(self, path: str, fields: Mapping[str, Any] | bytes) -> Answer:
        """Post one of many requests. If a limit refuses it, wait and post it again."""
        start = time.monotonic()
        while True:
            answer = self._connection.post(path, fields, self._headers, FILES_SECONDS)
            wait = answer.retry_after or 0
            if answer.status != 429 or wait > LONGEST_WAIT or time.monotonic() - start > FILES_SECONDS:
                return answer
            time.sleep(max(1, wait))

    def status(self, key: str, link_proof: bytes) -> Status:
        """What became of a note. Raises Failure, GONE, if the proof matches none."""
        answer = self._connection.post(f"/{key}/status", {"link_proof": to_text(link_proof)})
        if answer.status != 200:
            raise failure_of(answer)
        state = answer.member("status", str)
        at = answer.member("expires_at" if state == "unread" else "at", str)
        if state not in ("unread", "read", "destroyed", "expired") or at is None:
            raise _not_understood()
        return Status(
            state,
            at,
            has_passphrase=bool(answer.member("has_passphrase", bool)),
            wrong_passphrases=answer.member("wrong_passphrases", int) or 0,
            seconds_to_wait=answer.member("retry_after", int) or 0,
            mark=_bytes(answer.member("mark", str)),
            file_bytes=answer.member("file_bytes", int) or 0,
            seconds_ago=_seconds_ago(at, answer.headers.get("Date", "")),
        )

    def reveal(self, key: str, keys: DerivedKeys, reader: bytes, on_lost: Callable[[], None]) -> bytes:
        """The sealed bytes of a note, which is then gone; the same reader gets them again for a minute.

        Raises:
            WrongPassphrase: the note is untouched.
            Failure: no answer, or the note is gone or locked.
        """
        fields = {
            "link_proof": to_text(keys.link_proof),
            "reveal_proof": to_text(keys.reveal_proof),
            "reader": to_text(reader),
        }
        answer = self._connection.post(f"/{key}/reveal", fields, patience=DELIVERY_SECONDS, on_lost=on_lost)
        if answer.status == 403 and answer.member("field", str) == "passphrase":
            raise WrongPassphrase(answer.detail, answer.member("tries_left", int) or 0)
        if answer.status != 200:
            raise failure_of(answer)
        sealed = _bytes(answer.member("sealed", str))
        if sealed is None:
            raise _not_understood()
        return sealed

    def received(self, key: str, reader: bytes, mark: bytes | None, files: bool = False) -> None:
        """Acknowledge a reveal, with `files` those too; the mark proves that the message was opened."""
        fields: dict[str, Any] = {"reader": to_text(reader)}
        if mark is not None:
            fields["mark"] = to_text(mark)
        if files:
            fields["files"] = True
        answer = self._connection.post(f"/{key}/received", fields, patience=ACKNOWLEDGE_SECONDS)
        if answer.status != 204:
            raise failure_of(answer)

    def destroy(self, key: str, link_proof: bytes) -> None:
        """Destroy a note unread. Raises Failure, GONE, if it is too late or the proof matches none."""
        answer = self._connection.post(f"/{key}/destroy", {"link_proof": to_text(link_proof)})
        if answer.status != 204:
            raise failure_of(answer)


def failure_of(answer: Answer) -> Failure:
    """The failure that an unexpected answer means."""
    members: dict[str, Any] = {"status": answer.status}
    if answer.retry_after is not None:
        members["retry_after"] = answer.retry_after
    if not answer.is_problem:
        return Failure(Exit.UNREACHABLE, answer.detail, **members)
    ending = answer.member("ending", dict)
    if ending is not None:
        members["ending"] = {
            name: ending[name] for name in ("status", "at") if isinstance(ending.get(name), str)
        }
    match answer.status:
        case 404 | 409:
            return Failure(Exit.GONE, answer.detail, **members)
        case 429 if answer.member("field", str) == "passphrase":
            return Failure(Exit.PASSPHRASE, answer.detail, **members)
        case status if status >= 500 and answer.is_passing:
            return Failure(Exit.UNREACHABLE, answer.detail, **members)
        case _:
            return Failure(Exit.REFUSED, answer.detail, **members)


def _not_understood() -> Failure:
    return Failure(
        Exit.UNREACHABLE,
        "The service answered something that this version of the command does not understand.",
    )


def _bytes(text: str | None) -> bytes | None:
    try:
        return None if text is None else sealing.from_text(text)
    except ValueError:
        return None


def _seconds_ago(at: str, date: str) -> float:
    try:
        return (parsedate_to_datetime(date) - datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
