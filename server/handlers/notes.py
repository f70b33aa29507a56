"""Everything under a key: confirm, status, reveal, received, destroy, receipt."""

from __future__ import annotations

from typing import Any

from server import sealed_files, sealing
from server.clients import refuse_cross_site
from server.handlers import bodies, inputs, readers
from server.handlers.base import BaseHandler
from server.handlers.outcomes import as_json, in_words, too_late, with_problems
from server.messages import Revealed, Token
from server.negotiation import Format
from server.notes import Ended
from server.problems import Problem, gone
from server.sealed_files import safe_name


class KeyHandler(BaseHandler):
    """What the handlers under a key share."""

    async def answer_confirm(self, key: str) -> None:
        """The confirm page: the same bytes for every key that has a note. Raises Problem, 404, if there is none."""
        if not await self.service.messages.peek(key):
            raise gone()
        self.answer_constant("confirm.html")

    async def reveal(
        self, key: str, claim: Any, reader: bytes | None = None, passphrase_status: int = 403
    ) -> None:
        """Reveal the note and answer with it. Raises Problem, as `with_problems` does."""
        self.act = "reveal"
        work = self.service.messages.reveal(key, claim, reader, self.address)
        revealed = await with_problems(work, passphrase_status)
        if revealed is None:
            raise gone()
        self.answer_revealed(revealed)

    def answer_revealed(self, revealed: Revealed) -> None:
        """Show what was revealed, in the client's format: the message exactly as it was put."""
        sealed = None if revealed.sealed is None else sealing.to_text(revealed.sealed)
        if self.format is Format.JSON:
            if sealed is None:
                self.answer_json({"message": revealed.message})
            else:  # base64url has nothing to escape; looking for it would take a tenth of the request
                self.answer_json_text(f'{{"sealed": "{sealed}"}}')
        elif self.format is Format.TEXT:
            self.answer_text(revealed.message if sealed is None else sealed)  # type: ignore[arg-type]  # one is set
        else:
            self.answer_html("revealed.html", message=revealed.message, sealed=sealed, files=None)

    async def destroy(self, key: str) -> None:
        """Destroy the note unread: 204, or a page for a browser."""
        self.act = "destroy"
        fields = bodies.fields_of(self.request, inputs.LINK_FIELDS)
        proof = inputs.link_proof(fields, self.service.settings)
        try:
            destroyed = await self.service.messages.destroy(key, proof)
        except Ended as ended:
            ending = ended.ending
            raise Problem(409, too_late(ending), kind="too-late", ending=as_json(ending)) from None
        if not destroyed:
            raise gone()
        if self.format in (Format.PAGE, Format.FRAGMENT):
            self.answer_html("destroyed.html")
        else:
            self.answer_nothing()

    def answer_nothing(self) -> None:
        self.clear_header("Content-Type")
        self.set_status(204)


class ConfirmHandler(KeyHandler):
    """GET /KEY : the confirm page, whose script finds the token behind the #. Reveals nothing."""

    route = "/KEY"
    allow = ("GET", "HEAD", "DELETE")

    async def get(self, key: str) -> None:
        if self.format not in (Format.JSON, Format.TEXT):
            return await self.answer_confirm(key)
        if not await self.service.messages.peek(key):
            raise gone()
        how_to_open = (
            "There is an unread message here. Its token is behind the # of the link, and was not sent to this"
            " server. To read it once in a terminal, replace the # with a /:"
            f" curl {self.public_url}/{key}/TOKEN"
        )
        if self.format is Format.JSON:
            self.answer_json({"key": key, "detail": how_to_open})
        else:
            self.answer_text(how_to_open + "\n")

    head = get

    async def delete(self, key: str) -> None:
        await self.destroy(key)


class DestroyHandler(KeyHandler):
    """POST /KEY/destroy : the same as DELETE /KEY, for a form."""

    route = "/KEY/destroy"
    allow = ("POST",)

    async def post(self, key: str) -> None:
        await self.destroy(key)


class TokenHandler(KeyHandler):
    """GET /KEY/TOKEN : reveals to a client that plainly asks for data; any other gets the confirm page.

    POST is the form of that page, for a browser without a script. It reveals nothing until a person has chosen so
    in the form. A client that asks for data acts for a person, and need not choose.
    """

    route = "/KEY/TOKEN"
    allow = ("GET", "HEAD", "POST")

    async def get(self, key: str, token: str) -> None:
        if not sealing.is_token(token):
            raise readers.cut_off(404)
        if self.format in (Format.JSON, Format.TEXT) and self.request.method == "GET":
            refuse_cross_site(self.request, self.public_url)
            return await self.reveal(key, Token(token), passphrase_status=401)
        await self.answer_confirm(key)

    head = get

    async def post(self, key: str, token: str) -> None:
        if not sealing.is_token(token):
            raise readers.cut_off(404)
        fields = bodies.fields_of(self.request, inputs.CONFIRM_FIELDS)
        passphrase = inputs.PASSPHRASE.of(fields, self.service.settings)
        present = inputs.PRESENT.of(fields, self.service.settings)
        try:
            if not present and self.format in (Format.PAGE, Format.FRAGMENT):
                raise Problem(
                    400, "The message is untouched. To read it, choose that first.", inputs.PRESENT.name
                )
            await self.reveal_to_person(key, Token(token, passphrase))
        except Problem as problem:
            if problem.field not in inputs.CONFIRM_FIELDS or self.problem_format is not Format.PAGE:
                raise
            asks_passphrase = bool(passphrase) or problem.field == inputs.PASSPHRASE.name
            if asks_passphrase and not passphrase:
                problem = Problem(
                    403, "This message needs a passphrase. Ask whoever sent you the link.", problem.field
                )
            for name, value in problem.headers.items():
                self.set_header(name, value)
            self.answer_html(
                "confirm.html",
                problem.status,
                problem=problem,
                asks_passphrase=asks_passphrase,
                present=present,
            )

    async def reveal_to_person(self, key: str, claim: Token) -> None:
        """Reveal the note. For a page, the server can also open the note's files. Raises what `reveal` does."""
        try:
            return await self.reveal(key, claim)
        except Problem as problem:
            limit = self.service.settings.max_form_file_bytes
            if problem.kind != "files" or self.format not in (Format.PAGE, Format.FRAGMENT):
                raise
        work = self.service.messages.reveal_with_files(key, claim, limit, self.address)
        opened = await with_problems(work)
        if opened is None:
            raise gone()
        to_save, start = [], 0
        for file in opened.files:
            to_save.append({"name": safe_name(file.name), "start": start, "size": file.size})
            start += file.size
        self.answer_html(
            "revealed.html",
            message=opened.message,
            sealed=None,
            files=to_save,
            key=key,
            reader=sealing.to_text(opened.reader),
            file_key=sealing.to_text(opened.file_key),
            file_bytes=sealed_files.padded_length(start),
        )

    def answer_error_page(self, problem: Problem) -> None:
        if problem.kind == "cut-off":
            return self.answer_html("broken.html", problem.status)
        super().answer_error_page(problem)


class EncodedLinkHandler(BaseHandler):
    """GET /KEY%23TOKEN : a link whose # a mail program encoded."""

    route = "/KEY%23TOKEN"

    def get(self, key: str, token: str) -> None:
        self.redirect(f"/{key}#{token}", status=303)

    head = get


class SlashHandler(BaseHandler):
    """GET /KEY/ : a link with an extra /. A browser keeps the part behind the # when it follows the redirect."""

    route = "/KEY/"

    def get(self, key: str) -> None:
        self.redirect(f"/{key}", status=308)

    head = get


class EncodedReceiptHandler(BaseHandler):
    """GET /KEY/receipt%23SECRET : a receipt whose # a mail program encoded."""

    route = "/KEY/receipt%23SECRET"

    def get(self, key: str, secret: str) -> None:
        self.redirect(f"/{key}/receipt#{secret}", status=303)

    head = get


class RevealHandler(KeyHandler):
    """POST /KEY/reveal : the confirm click."""

    route = "/KEY/reveal"
    allow = ("POST",)

    async def post(self, key: str) -> None:
        settings = self.service.settings
        fields = bodies.fields_of(self.request, inputs.REVEAL_FIELDS)
        reader = inputs.optional(inputs.READER, fields, settings)
        await self.reveal(key, inputs.claim(fields, settings), reader)


class ReceivedHandler(KeyHandler):
    """POST /KEY/received : the reader has the note; the server forgets the delivery."""

    route = "/KEY/received"
    allow = ("POST",)

    async def post(self, key: str) -> None:
        settings = self.service.settings
        fields = bodies.fields_of(self.request, inputs.RECEIVED_FIELDS)
        reader, mark = inputs.READER.of(fields, settings), inputs.optional(inputs.MARK, fields, settings)
        files = inputs.FILES.of(fields, settings)
        if not await self.service.messages.received(key, reader, mark, files):
            raise Problem(404, "There is no such delivery, or it is over.")
        self.answer_nothing()


class StatusHandler(KeyHandler):
    """POST /KEY/status : what became of a note, for a client that proves its link."""

    route = "/KEY/status"
    allow = ("POST",)

    async def post(self, key: str) -> None:
        fields = bodies.fields_of(self.request, inputs.LINK_FIELDS)
        status = await self.service.messages.status(key, inputs.link_proof(fields, self.service.settings))
        if status is None:
            raise gone()
        if self.format is Format.TEXT:
            self.answer_text(in_words(status) + "\n")
        else:
            self.answer_json(as_json(status))


class ReceiptHandler(BaseHandler):
    """GET /KEY/receipt : the sender's page, whose script finds the receipt's secret behind the #."""

    route = "/KEY/receipt"

    def get(self, key: str) -> None:
        self.answer_constant("receipt.html")

    head = get
