"""The route table.

No route may have five letters: it would shadow a key.
"""

from __future__ import annotations

from server import logs, pages
from server.handlers.base import NotFoundHandler
from server.handlers.files import FetchHandler, SaveHandler, UploadChunksHandler, UploadHandler
from server.handlers.notes import (
    ConfirmHandler,
    DestroyHandler,
    EncodedLinkHandler,
    EncodedReceiptHandler,
    ReceiptHandler,
    ReceivedHandler,
    RevealHandler,
    SlashHandler,
    StatusHandler,
    TokenHandler,
)
from server.handlers.operations import (
    HealthHandler,
    HowItWorksHandler,
    MetricsHandler,
    OpenApiHandler,
    ReadyHandler,
    SecurityTxtHandler,
)
from server.handlers.put import FormHandler, PostHandler, SentHandler, SharedTextHandler
from server.handlers.static import StaticHandler
from server.httpd.handler import Application
from server.keys import KEY_PATTERN
from server.releases import ReleasedFiles
from server.service import Service
from server.static_files import files_in


def make_app(service: Service) -> Application:
    """The application; `service` is what its handlers work with."""
    with_service = {"service": service}
    files = files_in(pages.STATIC)
    with_releases = {**with_service, "released": ReleasedFiles(service.msg_db)}
    at_the_root = {name: files[path] for name, path in pages.AT_THE_ROOT.items()}
    return Application(
        [
            (r"/", FormHandler, with_service),
            (r"/post", PostHandler, with_service),
            (r"/shared-text", SharedTextHandler, with_service),
            (r"/upload", UploadHandler, with_service),
            (r"/upload/chunks", UploadChunksHandler, with_service),
            (rf"/({KEY_PATTERN})", ConfirmHandler, with_service),
            (rf"/({KEY_PATTERN})/", SlashHandler, with_service),
            (rf"/({KEY_PATTERN})/reveal", RevealHandler, with_service),
            (rf"/({KEY_PATTERN})/destroy", DestroyHandler, with_service),
            (rf"/({KEY_PATTERN})/received", ReceivedHandler, with_service),
            (rf"/({KEY_PATTERN})/chunks", FetchHandler, with_service),
            (rf"/({KEY_PATTERN})/file", SaveHandler, with_service),
            (rf"/({KEY_PATTERN})/status", StatusHandler, with_service),
            (rf"/({KEY_PATTERN})/receipt", ReceiptHandler, with_service),
            (rf"/({KEY_PATTERN})/receipt%23([\w-]*)", EncodedReceiptHandler, with_service),
            (rf"/({KEY_PATTERN})/([^/]+)", TokenHandler, with_service),
            (rf"/({KEY_PATTERN})/([0-9A-Za-z]+)/sent/([\w-]{{43}})", SentHandler, with_service),
            (rf"/({KEY_PATTERN})%23([0-9A-Za-z]*)", EncodedLinkHandler, with_service),
            (r"/healthz", HealthHandler, with_service),
            (r"/readyz", ReadyHandler, with_service),
            (r"/metrics", MetricsHandler, with_service),
            (r"/how-it-works", HowItWorksHandler, with_service),
            (r"/openapi\.json", OpenApiHandler, with_service),
            (r"/\.well-known/security\.txt", SecurityTxtHandler, with_service),
            (r"/static/(.*)", StaticHandler, {**with_releases, "files": files}),
            (
                r"/(robots\.txt|favicon\.ico|apple-touch-icon\.png|shared-text-worker\.js"
                r"|manifest\.webmanifest|branding\.css|branding-logo)",
                StaticHandler,
                {**with_releases, "files": at_the_root | service.pages.files},
            ),
        ],
        default_handler_class=NotFoundHandler,
        default_handler_args=with_service,
        log_function=logs.log_request,
    )
