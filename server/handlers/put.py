"""The form, and putting notes."""

from __future__ import annotations

from datetime import UTC, timedelta

from server.handlers import inputs
from server.handlers.base import BaseHandler, timestamp
from server.handlers.files import with_problems
from server.negotiation import Format
from server.notes import Placed
from server.posting import not_allowed
from server.problems import Problem


class FormHandler(BaseHandler):
    """GET / : the form."""

    route = "/"

    def get(self) -> None:
        if not self.service.posting.may_post(self.request):
            raise not_allowed()
        self.answer_constant("form.html")

    head = get


class PostHandler(BaseHandler):
    """POST /post : put a note, sealed by the client, or by the server for clients that cannot seal."""

    route = "/post"
    allow = ("POST",)

    async def post(self) -> None:
        self.act = "put"
        settings, messages = self.service.settings, self.service.messages
        self.service.posting.admit(self.request)
        fields = inputs.fields_of(self.request, inputs.PUT_FIELDS)
        if not fields.keys().isdisjoint(_SEALED_BY_CLIENT):
            if not fields.keys().isdisjoint(_SEALED_BY_SERVER):
                raise Problem(
                    400, "Send either the message or the sealed note, not both.", inputs.SEALED.name
                )
            note = inputs.sealed_note(fields, settings)
            upload = inputs.optional(inputs.UPLOAD, fields, settings)
            if upload is None:
                placed = await messages.put_sealed(note)
            else:
                placed = await with_problems(messages.put_with_files(note, upload))
            return self.answer_placed(placed, note.has_passphrase, note.lifetime)
        message, passphrase, lifetime = inputs.message_to_put(fields, settings)
        placed, token, receipt = await messages.put(message, passphrase, lifetime, self.address)
        self.answer_placed(placed, bool(passphrase), lifetime, token, receipt)

    def answer_placed(
        self,
        placed: Placed,
        has_passphrase: bool,
        lifetime: timedelta,
        token: str | None = None,
        receipt: str | None = None,
    ) -> None:
        """The note's URL and expiry; with its token and receipt if the server sealed it."""
        note_url = f"{self.public_url}/{placed.key}"
        url = f"{note_url}/{token}" if token else note_url
        receipt_url = f"{note_url}/receipt#{receipt}" if receipt else None
        if self.format is Format.JSON:
            members = {"url": url, "key": placed.key, "expires_at": timestamp(placed.expires_at)}
            self.answer_json(members | ({"receipt": receipt_url} if receipt_url else {}), 201)
        elif self.format is Format.TEXT:
            self.answer_text(url + "\n", 201)
        else:
            self.answer_html(
                "share.html",
                201,
                url=url,
                key=placed.key,
                token=token,
                receipt=receipt_url,
                expires_at=placed.expires_at.astimezone(UTC),
                lifetime=int(lifetime.total_seconds()),
                has_passphrase=has_passphrase,
            )

    def answer_error_page(self, problem: Problem) -> None:
        if inputs.media_type_of(self.request) != inputs.FORM or problem.status == 401:
            return super().answer_error_page(problem)
        try:
            fields = inputs.fields_of(self.request, inputs.MESSAGE_FIELDS)
        except Problem:
            return super().answer_error_page(problem)
        values = {name: value for name, value in fields.items() if name != inputs.PASSPHRASE.name}
        self.answer_html("form.html", problem.status, values=values, problem=problem)


_SEALED_BY_SERVER = {inputs.MESSAGE.name, inputs.PASSPHRASE.name}
_SEALED_BY_CLIENT = {
    inputs.SEALED.name,
    inputs.LINK_VERIFIER.name,
    inputs.REVEAL_VERIFIER.name,
    inputs.UPLOAD.name,
}
