"""Files that never change while the server runs: for a laptop, and for servers without nginx."""

from __future__ import annotations

from collections.abc import Mapping

from server.handlers.base import BaseHandler
from server.problems import Problem
from server.releases import ReleasedFiles
from server.service import Service
from server.static_files import File

FOR_EVER = "public, max-age=31536000, immutable"
FOR_A_WHILE = "public, max-age=3600"
NOT_AT_ALL = "no-store"


class StaticHandler(BaseHandler):
    """GET /static/PATH : a file, cached for ever if ?v= is its fingerprint.

    If ?v= is the fingerprint of another release, a script or style is that release's, as `migrate` published it, or a
    404: the page would refuse this release's by its integrity attribute. An image of another release will do.
    """

    route = "/static"
    any_host = True

    def initialize(  # type: ignore[override]  # Tornado calls it with what the route names
        self, service: Service, files: Mapping[str, File], released: ReleasedFiles
    ) -> None:
        super().initialize(service)
        self.files, self.released = files, released

    async def get(self, path: str) -> None:
        file = self.files.get(path)
        wanted = b"".join(self.request.query_arguments.get("v", [])).decode("ascii", "replace")
        fits = file is not None and wanted == file.fingerprint
        if wanted and not fits and (file is None or file.is_text):
            file = await self.released.find(path, wanted)
            fits = True
        if file is None:
            raise Problem(404, "There is nothing at this URL.")
        self.set_header("Cache-Control", FOR_EVER if fits else NOT_AT_ALL if wanted else FOR_A_WHILE)
        # Weak, since it is the same for compressed bytes (RFC 9110, section 8.8.3.3).
        self.set_header("Etag", f'W/"{file.fingerprint}"')
        if self.check_etag_header():
            self.set_status(304)
            self.finish()
        else:
            self.answer_file(file)

    head = get

    def answer_problem(self, problem: Problem) -> None:
        self.answer_text(problem.title + "\n", problem.status)
