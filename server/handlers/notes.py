"""The form, and everything under a key: confirm, reveal, destroy."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from server import sealing
from server.handlers import inputs
from server.handlers.base import FORM, BaseHandler, refuse_cross_site
from server.messages import Claim, PassphraseNeeded, Revealed, TooManyTries, WrongPassphrase
from server.negotiation import Format
from server.notes import Peek, Placed
from server.problems import Problem, gone

Result = TypeVar("Result")


class FormHandler(BaseHandler):
    """GET / : the form."""

    route = "/"

    def get(self) -> None:
        self.answer_html("form.html", values={}, problem=None)

    head = get


class PostHandler(BaseHandler):
    """POST /post : leave a note, sealed by the client, or by the server for clients that cannot."""

    route = "/post"
    allow = ("POST",)

    async def post(self) -> None:
        fields = self.fields("message", "passphrase", "lifetime", "sealed", "verifier", "has_passphrase")
        limit = self.service.settings.max_message_bytes
        if "sealed" in fields or "verifier" in fields:
            if "message" in fields or "passphrase" in fields:
                raise Problem(400, "Send either the message, or what you have sealed of it.", "sealed")
            note = inputs.sealed_note_of(fields, limit)
            placed = await self.service.messages.put_sealed(note)
            return self.answer_placed(placed, note.has_passphrase, note.lifetime)
        message = inputs.message_of(fields, limit)
        passphrase, lifetime = inputs.passphrase_of(fields), inputs.lifetime_of(fields)
        placed, token, proof = await self.service.messages.put(message, passphrase, lifetime)
        self.answer_placed(placed, bool(passphrase), lifetime, token, proof)

    def answer_placed(
        self,
        placed: Placed,
        has_passphrase: bool,
        lifetime: timedelta,
        token: str | None = None,
        proof: bytes | None = None,
    ) -> None:
        """Where the note lies and until when; with its token and proof where the server has sealed it."""
        url = f"{self.service.settings.public_url}/{placed.key}" + (f"/{token}" if token else "")
        if self.format is Format.JSON:
            members = {"url": url, "key": placed.key, "expires_at": timestamp(placed.expires_at)}
            self.answer_json(members, 201)
        elif self.format is Format.TEXT:
            self.answer_text(url + "\n", 201)
        else:
            self.answer_html(
                "share.html",
                201,
                url=url,
                key=placed.key,
                token=token,
                proof=None if proof is None else sealing.to_text(proof),
                expires_at=placed.expires_at.astimezone(UTC),
                lifetime=int(lifetime.total_seconds()),
                has_passphrase=has_passphrase,
            )

    def answer_error_page(self, problem: Problem) -> None:
        if self.media_type != FORM:
            return super().answer_error_page(problem)
        try:
            fields = self.fields("message", "passphrase", "lifetime")
        except Problem:
            return super().answer_error_page(problem)
        values = {name: value for name, value in fields.items() if name != "passphrase"}
        self.answer_html("form.html", problem.status, values=values, problem=problem)


class KeyHandler(BaseHandler):
    """What the handlers under a key share."""

    async def peek(self, key: str) -> Peek:
        """What a confirm page says of the note; Problem, 404, where there is none."""
        peek = await self.service.messages.peek(key)
        if peek is None:
            raise gone()
        return peek

    def answer_confirm(self, key: str, token: str | None, peek: Peek, problem: Problem | None = None) -> None:
        """The confirm page; with a problem, the status and headers of that."""
        for name, value in problem.headers.items() if problem else ():
            self.set_header(name, value)
        self.answer_html(
            "confirm.html",
            problem.status if problem else 200,
            problem=problem,
            key=key,
            token=token,
            has_passphrase=peek.has_passphrase,
            expires_at=peek.expires_at.astimezone(UTC),
        )

    def claim(self) -> Claim:
        """What the body shows for the note; Problem, 400, where it is malformed."""
        return inputs.claim_of(self.fields("token", "passphrase", "proof"), self.address)

    async def destroy(self, key: str) -> None:
        """Delete unread: 204, or a page for who asked for one."""
        if not await claimed(self.service.messages.destroy(key, self.claim())):
            raise gone()
        if self.format in (Format.PAGE, Format.FRAGMENT):
            self.answer_html("destroyed.html")
        else:
            self.clear_header("Content-Type")
            self.set_status(204)


class ConfirmHandler(KeyHandler):
    """GET /KEY : the confirm page, where a script finds the token behind the #. Destroys nothing."""

    route = "/KEY"
    allow = ("GET", "HEAD", "DELETE")

    async def get(self, key: str) -> None:
        peek = await self.peek(key)
        match self.format:
            case Format.JSON:
                members = {
                    "key": key,
                    "has_passphrase": peek.has_passphrase,
                    "expires_at": timestamp(peek.expires_at),
                    "detail": self._how_to_open(key),
                }
                self.answer_json(members)
            case Format.TEXT:
                self.answer_text(self._how_to_open(key) + "\n")
            case _:
                self.answer_confirm(key, None, peek)

    head = get

    async def delete(self, key: str) -> None:
        await self.destroy(key)

    def _how_to_open(self, key: str) -> str:
        return (
            "A note is here, unread. Its token stands behind the # of the link, and was not sent to this"
            " server. To read it in a terminal, once, put a / in place of the #:"
            f" curl {self.service.settings.public_url}/{key}/TOKEN"
        )


class DestroyHandler(KeyHandler):
    """POST /KEY/destroy : the same as DELETE /KEY, for a form."""

    route = "/KEY/destroy"
    allow = ("POST",)

    async def post(self, key: str) -> None:
        await self.destroy(key)


class TokenHandler(KeyHandler):
    """GET /KEY/TOKEN : reveals for who plainly asks for data; anybody else gets the confirm page."""

    route = "/KEY/TOKEN"

    async def get(self, key: str, token: str) -> None:
        if not sealing.is_token(token):
            raise Problem(404, inputs.CUT_OFF)
        if self.format in (Format.JSON, Format.TEXT) and self.request.method == "GET":
            refuse_cross_site(self.request, self.service.settings)
            claim = Claim(token=token, address=self.address)
            revealed = await claimed(self.service.messages.reveal(key, claim), passphrase_status=401)
            return answer_revealed(self, key, revealed)
        self.answer_confirm(key, token, await self.peek(key))

    head = get


class EncodedLinkHandler(BaseHandler):
    """GET /KEY%23TOKEN : a link whose # some mail program encoded."""

    route = "/KEY%23TOKEN"

    def get(self, key: str, token: str) -> None:
        self.redirect(f"/{key}#{token}", status=303)

    head = get


class RevealHandler(KeyHandler):
    """POST /KEY/reveal : the confirm click."""

    route = "/KEY/reveal"
    allow = ("POST",)

    async def post(self, key: str) -> None:
        claim = self.claim()
        try:
            revealed = await claimed(self.service.messages.reveal(key, claim))
        except Problem as problem:
            if problem.field != "passphrase" or self.problem_format is not Format.PAGE or not claim.token:
                raise
            # Without a script, the form comes back with what is wrong beside its field.
            return self.answer_confirm(key, claim.token, await self.peek(key), problem)
        answer_revealed(self, key, revealed)


async def claimed(work: Awaitable[Result], passphrase_status: int = 403) -> Result:
    """What came of a claim, with its refusals put into words.

    Args:
        passphrase_status: the status where a passphrase is needed and none was given.

    Raises:
        Problem: 401, 403, 422 or 429.
    """
    try:
        return await work
    except PassphraseNeeded:
        headers = {"WWW-Authenticate": 'Passphrase realm="note"'} if passphrase_status == 401 else {}
        raise Problem(
            passphrase_status,
            "This note has a passphrase, and is untouched. To read it, POST token and passphrase"
            " to /KEY/reveal.",
            "passphrase",
            headers,
        ) from None
    except WrongPassphrase:
        raise Problem(403, "The passphrase does not fit; the note is untouched.", "passphrase") from None
    except TooManyTries as tries:
        raise Problem(
            429,
            f"Too many wrong passphrases; the note is untouched. Try again in {tries.seconds} seconds.",
            "passphrase",
            {"Retry-After": str(tries.seconds)},
        ) from None
    except sealing.SealingError:
        raise Problem(
            422, "This note was not sealed as it should have been. Nobody can open it, and it is gone now."
        ) from None


def answer_revealed(handler: BaseHandler, key: str, revealed: Revealed | None) -> None:
    """Show what was read, in the asker's format; the message exactly as it was left."""
    if revealed is None:
        raise gone()
    sealed = None if revealed.sealed is None else sealing.to_text(revealed.sealed)
    if handler.format is Format.JSON:
        if sealed is None:
            handler.answer_json({"message": revealed.message})
        else:  # in base64url there is nothing to escape, and looking for it takes a tenth of the request
            handler.answer_json_text(f'{{"sealed": "{sealed}"}}')
    elif handler.format is Format.TEXT:
        handler.answer_text(revealed.message if sealed is None else sealed)  # type: ignore[arg-type]  # one is there
    else:
        handler.answer_html("revealed.html", key=key, message=revealed.message, sealed=sealed)


def timestamp(time: datetime) -> str:
    """RFC 3339, UTC, whole seconds."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
