"""The form, and everything under a key: confirm, reveal, destroy."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from server import sealing
from server.clients import refuse_cross_site
from server.handlers import inputs
from server.handlers.base import BaseHandler
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
    """POST /post : put a note, sealed by the client, or by the server for clients that cannot seal."""

    route = "/post"
    allow = ("POST",)

    async def post(self) -> None:
        settings, messages = self.service.settings, self.service.messages
        fields = inputs.fields_of(self.request, inputs.MESSAGE_FIELDS + inputs.SEALED_FIELDS)
        if inputs.SEALED.name in fields or inputs.VERIFIER.name in fields:
            if inputs.MESSAGE.name in fields or inputs.PASSPHRASE.name in fields:
                raise Problem(
                    400, "Send either the message or the sealed note, not both.", inputs.SEALED.name
                )
            note = inputs.sealed_note(fields, settings)
            placed = await messages.put_sealed(note)
            return self.answer_placed(placed, note.has_passphrase, note.lifetime)
        message, passphrase, lifetime = inputs.message_to_put(fields, settings)
        placed, token, proof = await messages.put(message, passphrase, lifetime)
        self.answer_placed(placed, bool(passphrase), lifetime, token, proof)

    def answer_placed(
        self,
        placed: Placed,
        has_passphrase: bool,
        lifetime: timedelta,
        token: str | None = None,
        proof: bytes | None = None,
    ) -> None:
        """The note's URL and expiry; with its token and proof if the server sealed it."""
        url = f"{self.public_url}/{placed.key}" + (f"/{token}" if token else "")
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
        if inputs.media_type_of(self.request) != inputs.FORM:
            return super().answer_error_page(problem)
        try:
            fields = inputs.fields_of(self.request, inputs.MESSAGE_FIELDS)
        except Problem:
            return super().answer_error_page(problem)
        values = {name: value for name, value in fields.items() if name != inputs.PASSPHRASE.name}
        self.answer_html("form.html", problem.status, values=values, problem=problem)


class KeyHandler(BaseHandler):
    """What the handlers under a key share."""

    async def peek(self, key: str) -> Peek:
        """What the confirm page says about the note. Raises Problem, 404, if there is none."""
        peek = await self.service.messages.peek(key)
        if peek is None:
            raise gone()
        return peek

    def answer_confirm(self, key: str, token: str | None, peek: Peek, problem: Problem | None = None) -> None:
        """The confirm page; with a problem, its status and headers."""
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
        """What the body shows for the note. Raises Problem, 400, if it is malformed."""
        fields = inputs.fields_of(self.request, inputs.CLAIM_FIELDS)
        return inputs.claim(fields, self.service.settings, self.address)

    async def destroy(self, key: str) -> None:
        """Destroy the note unread: 204, or a page for a browser."""
        if not await with_problems(self.service.messages.destroy(key, self.claim())):
            raise gone()
        if self.format in (Format.PAGE, Format.FRAGMENT):
            self.answer_html("destroyed.html")
        else:
            self.clear_header("Content-Type")
            self.set_status(204)


class ConfirmHandler(KeyHandler):
    """GET /KEY : the confirm page, whose script finds the token behind the #. Reveals nothing."""

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
            "There is an unread note here. Its token is behind the # of the link, and was not sent to this"
            " server. To read the note once in a terminal, replace the # with a /:"
            f" curl {self.public_url}/{key}/TOKEN"
        )


class DestroyHandler(KeyHandler):
    """POST /KEY/destroy : the same as DELETE /KEY, for a form."""

    route = "/KEY/destroy"
    allow = ("POST",)

    async def post(self, key: str) -> None:
        await self.destroy(key)


class TokenHandler(KeyHandler):
    """GET /KEY/TOKEN : reveals to a client that plainly asks for data; any other gets the confirm page."""

    route = "/KEY/TOKEN"

    async def get(self, key: str, token: str) -> None:
        if not sealing.is_token(token):
            raise Problem(404, inputs.CUT_OFF)
        if self.format in (Format.JSON, Format.TEXT) and self.request.method == "GET":
            refuse_cross_site(self.request, self.public_url)
            claim = Claim(token=token, address=self.address)
            revealed = await with_problems(self.service.messages.reveal(key, claim), passphrase_status=401)
            return answer_revealed(self, key, revealed)
        self.answer_confirm(key, token, await self.peek(key))

    head = get


class EncodedLinkHandler(BaseHandler):
    """GET /KEY%23TOKEN : a link whose # a mail program encoded."""

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
            revealed = await with_problems(self.service.messages.reveal(key, claim))
        except Problem as problem:
            if problem.field != "passphrase" or self.problem_format is not Format.PAGE or not claim.token:
                raise
            # Without a script, the form comes back with what is wrong beside its field.
            return self.answer_confirm(key, claim.token, await self.peek(key), problem)
        answer_revealed(self, key, revealed)


async def with_problems(work: Awaitable[Result], passphrase_status: int = 403) -> Result:
    """The result of `work`; its refusals become problems.

    Args:
        passphrase_status: the status if the note needs a passphrase and none was given.

    Raises:
        Problem: 401, 403, 422 or 429.
    """
    try:
        return await work
    except PassphraseNeeded:
        headers = {"WWW-Authenticate": 'Passphrase realm="note"'} if passphrase_status == 401 else {}
        raise Problem(
            passphrase_status,
            "This note needs a passphrase. It is untouched. To read it, POST its token and passphrase"
            " to /KEY/reveal.",
            "passphrase",
            headers,
        ) from None
    except WrongPassphrase:
        raise Problem(403, "The passphrase is wrong. The note is untouched.", "passphrase") from None
    except TooManyTries as tries:
        raise Problem(
            429,
            f"Too many wrong passphrases. The note is untouched. Try again in {tries.seconds} seconds.",
            "passphrase",
            {"Retry-After": str(tries.seconds)},
        ) from None
    except sealing.SealingError:
        raise Problem(422, "This note was sealed wrongly. Nobody can open it, and it is now gone.") from None


def answer_revealed(handler: BaseHandler, key: str, revealed: Revealed | None) -> None:
    """Show what was revealed, in the client's format: the message exactly as it was put."""
    if revealed is None:
        raise gone()
    sealed = None if revealed.sealed is None else sealing.to_text(revealed.sealed)
    if handler.format is Format.JSON:
        if sealed is None:
            handler.answer_json({"message": revealed.message})
        else:  # base64url has nothing to escape; looking for it would take a tenth of the request
            handler.answer_json_text(f'{{"sealed": "{sealed}"}}')
    elif handler.format is Format.TEXT:
        handler.answer_text(revealed.message if sealed is None else sealed)  # type: ignore[arg-type]  # one is there
    else:
        handler.answer_html("revealed.html", key=key, message=revealed.message, sealed=sealed)


def timestamp(time: datetime) -> str:
    """RFC 3339, UTC, whole seconds."""
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
