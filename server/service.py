"""What handlers work with: the parts of one server process."""

from __future__ import annotations

import dataclasses

from tornado.web import RequestHandler

from server.database import Database
from server.keys import KeyLeaser
from server.logs import Refusals
from server.messages import Messages
from server.pages import Pages
from server.posting import Posting
from server.settings import Settings


@dataclasses.dataclass(frozen=True)
class Service:
    """The parts of one server process, and the handlers of the requests in progress."""

    settings: Settings
    key_db: Database
    msg_db: Database
    keys: KeyLeaser
    messages: Messages
    pages: Pages
    posting: Posting
    refusals: Refusals = dataclasses.field(default_factory=Refusals)
    in_progress: set[RequestHandler] = dataclasses.field(default_factory=set)
