"""The form, putting notes, and the sender's page for a browser without a script."""

from __future__ import annotations

import contextlib
from datetime import UTC

from server import sealing
from server.handlers import bodies, inputs, readers
from server.handlers.base import BaseHandler, timestamp
from server.handlers.files import with_problems
from server.languages import text
from server.negotiation import Format
from server.notes import Ending, Placed
from server.posting import not_allowed
from server.problems import Problem, gone

MARK_VERIFIER_LENGTH = 43  # characters, as in a receipt

_NOT_SENT_BACK = {inputs.PASSPHRASE.name, inputs.FILE.name}
_SEALED_BY_SERVER = {inputs.MESSAGE.name, inputs.PASSPHRASE.name}
_SEALED_BY_CLIENT = {
    inputs.SEALED.name,
    inputs.LINK_VERIFIER.name,
    inputs.REVEAL_VERIFIER.name,
    inputs.UPLOAD.name,
}


class FormHandler(BaseHandler):
    """GET / : the form."""

    route = "/"

    def get(self) -> None:
        if not self.service.posting.may_post(self.request):
            raise not_allowed()
        self.answer_constant("form.html")

    head = get


class SharedTextHandler(FormHandler):
    """POST /shared-text : the form with text that a phone shares, which is not stored.

    The server sees the text only if no page of it was open on that phone since the installation. Otherwise
    static/js/shared-text-worker.js answers instead. A GET comes from a restored tab.
    """

    route = "/shared-text"
    allow = ("GET", "HEAD", "POST")

    def post(self) -> None:
        if not self.service.posting.may_post(self.request):
            raise not_allowed()
        settings = self.service.settings
        fields = bodies.fields_of(self.request, inputs.SHARED_FIELDS)
        parts = (inputs.TEXT.of(fields, settings), inputs.URL.of(fields, settings))
        message = "\n".join(part for part in parts if part)
        self.answer_html("form.html", values={"message": message, "shared": True}, problem=None)


class PostHandler(BaseHandler):
    """POST /post : put a note, sealed by the client, or by the server for clients that cannot seal."""

    route = "/post"
    allow = ("POST",)

    @property
    def has_files(self) -> bool:
        """Whether the body is a form that may have files."""
        return bodies.media_type_of(self.request) == bodies.MULTIPART

    @property
    def max_body_bytes(self) -> int:
        return self.service.settings.max_form_bytes if self.has_files else super().max_body_bytes

    @property
    def too_long(self) -> Problem:
        if not self.has_files:
            return super().too_long
        limit = self.service.settings.max_form_file_bytes
        return Problem(
            413,
            text("The files may have at most %(limit)s bytes together.", limit=limit),
            inputs.FILE.name,
        )

    async def post(self) -> None:
        self.act = "put"
        settings, messages = self.service.settings, self.service.messages
        self.service.posting.admit(self.request)
        fields = bodies.fields_of(self.request, inputs.FORM_FIELDS if self.has_files else inputs.PUT_FIELDS)
        if not fields.keys().isdisjoint(_SEALED_BY_CLIENT):
            if not fields.keys().isdisjoint(_SEALED_BY_SERVER):
                raise Problem(
                    400, "Send either the message or its sealed bytes, not both.", inputs.SEALED.name
                )
            note = inputs.sealed_note(fields, settings)
            upload = inputs.optional(inputs.UPLOAD, fields, settings)
            if upload is None:
                placed = await messages.put_sealed(note)
            else:
                placed = await with_problems(messages.put_with_files(note, upload))
            return self.answer_placed(placed, note.has_passphrase)
        message = inputs.message_to_put(fields, settings)
        with messages.files.puts.taken() if message.files else contextlib.nullcontext():
            put = messages.put(*message, address=self.address)
            placed, token, receipt = await with_problems(put)
        self.answer_placed(placed, bool(message.passphrase), token, receipt)

    def answer_placed(
        self,
        placed: Placed,
        has_passphrase: bool,
        token: str | None = None,
        receipt: str | None = None,
    ) -> None:
        """The note's URL and expiry; with its token and receipt if the server sealed it."""
        note_url = f"{self.public_url}/{placed.key}"
        url = f"{note_url}/{token}" if token else note_url
        receipt_url = f"{note_url}/receipt#{receipt}" if receipt else None
        if self.format is Format.JSON:
            # Nothing in it has to be escaped; a JSON encoder would take a fortieth of the request.
            members = f'"url": "{url}", "key": "{placed.key}", "expires_at": "{timestamp(placed.expires_at)}"'
            members += f', "receipt": "{receipt_url}"' if receipt_url else ""
            self.answer_json_text(f"{{{members}}}", 201)
        elif self.format is Format.TEXT:
            self.answer_text(url + "\n", 201)
        elif self.format is Format.PAGE and token and receipt:
            # Otherwise, reloading the page would put the message again.
            query = f"?{self.request.query}" if self.request.query else ""  # its language
            self.redirect(f"/{placed.key}/{token}/sent/{receipt[-MARK_VERIFIER_LENGTH:]}{query}", status=303)
        else:
            self.answer_html(
                "share.html",
                201,
                url=url,
                key=placed.key,
                token=token,
                receipt=receipt_url,
                expires_at=placed.expires_at.astimezone(UTC),
                has_passphrase=has_passphrase,
            )

    def answer_error_page(self, problem: Problem) -> None:
        is_form = bodies.media_type_of(self.request) in (bodies.FORM, bodies.MULTIPART)
        if not is_form or problem.status == 401:
            return super().answer_error_page(problem)
        try:
            fields = bodies.fields_of(self.request, inputs.FORM_FIELDS)
        except Problem:
            return super().answer_error_page(problem)
        values = {name: value for name, value in fields.items() if name not in _NOT_SENT_BACK}
        self.answer_html("form.html", problem.status, values=values, problem=problem)


class SentHandler(BaseHandler):
    """GET /KEY/TOKEN/sent/VERIFIER : the sender's page for a message that the server sealed. Reveals nothing.

    VERIFIER belongs to the mark and is the second half of the receipt, which the server cannot derive again
    without the passphrase.
    """

    route = "/KEY/TOKEN/sent/VERIFIER"

    async def get(self, key: str, token: str, mark_verifier: str) -> None:
        if not sealing.is_token(token):
            raise readers.cut_off(404)
        link_proof = sealing.link_proof_of(token)
        status = await self.service.messages.status(key, link_proof)
        if status is None:
            raise gone()
        if isinstance(status, Ending):
            return self.answer_html("ended.html", how=status.how, at=status.at)
        note_url = f"{self.public_url}/{key}"
        self.answer_html(
            "share.html",
            url=f"{note_url}/{token}",
            key=key,
            token=token,
            receipt=f"{note_url}/receipt#{sealing.to_text(link_proof)}{mark_verifier}",
            expires_at=status.expires_at.astimezone(UTC),
            has_passphrase=status.has_passphrase,
        )

    head = get
