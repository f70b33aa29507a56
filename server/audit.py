"""Audit lines: who put, revealed or destroyed a note, or was refused. They never say which note.

nginx's access log has the clients' networks.
"""

from __future__ import annotations

import logging

from server.httpd.handler import CLIENT_LEFT

log = logging.getLogger(__name__)


def log_act(act: str, method: str, route: str, status: int, by: str | None = None) -> None:
    """
    Args:
        act: "put", "reveal" or "destroy".
        by: who put the note, as `Posting.poster_of` returns it.
    """
    outcome = outcome_of(status)
    members = {"act": act, "outcome": outcome, "method": method, "route": route, "status": status}
    if by is not None:
        members["by"] = by
    words = f"{act} {outcome}: {method} {route} {status}" + (f" by {ascii(by)}" if by is not None else "")
    log.info("%s", words, extra={"members": members})


def outcome_of(status: int) -> str:
    """What became of an act.

    "left" means that the client hung up before its answer. If its COMMIT was sent already, the act took effect.
    """
    if status == CLIENT_LEFT:
        return "left"
    if status < 400:
        return "done"
    return "refused" if status < 500 else "failed"
