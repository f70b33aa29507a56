"""Drives a server with wrk and checks every answer; a run with a wrong one is void."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

SCRIPT = Path(__file__).with_name("load.lua")


class Void(RuntimeError):
    """The run says nothing: an answer was wrong, or something else was."""


class Exhausted(Void):
    """There was nothing left to ask for, or nothing was answered."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What is asked, and what the answer has to be.

    A request is head + id + tail, with an id from `ids` for each, or head + tail. The answer contains
    `answer_head` or, if it `names_id`, is answer_head + id + answer_tail with an id of five characters
    that was asked for. If there is an `acknowledgement`, as (head, tail), it follows each request on the same
    connection at once, with the same id, and is answered with 204: the two are one.
    """

    head: str
    tail: str
    status: int
    answer_head: str
    answer_tail: str = ""
    names_id: bool = False
    ids: Sequence[str] | None = None
    acknowledgement: tuple[str, str] | None = None


@dataclasses.dataclass(frozen=True)
class Run:
    """What wrk saw."""

    rate: float  # answers a second
    requests: int
    p50_ms: float
    p99_ms: float
    max_ms: float


def post(
    path: str, body: str, media_type: str = "application/json", host: str = "localhost"
) -> tuple[str, str]:
    """A POST as (head, tail); where the path has a `*`, an id goes between."""
    before, _, after = path.partition("*")
    names = ("Host", "Content-Type", "Accept", "Content-Length")
    values = (host, media_type, "application/json", len(body))
    fields = "\r\n".join(f"{name}: {value}" for name, value in zip(names, values))
    head, tail = f"POST {before}", f"{after} HTTP/1.1\r\n{fields}\r\n\r\n{body}"
    return (head, tail) if "*" in path else (head + tail, "")


def drive(
    job: Job, servers: Sequence[tuple[str, int]], connections: int, seconds: int, tls: bool = False
) -> Run:
    """Keep this many connections busy for this long.

    Raises:
        Void: something was wrong with the answers.
    """
    threads = min(len(servers), connections)
    with tempfile.TemporaryDirectory() as folder:
        ids = None
        if job.ids is not None:
            ids = Path(folder, "ids")
            ids.write_text("\n".join(job.ids) + "\n")
        script = Path(folder, "job.lua")
        script.write_text(_lua(job, servers, threads, ids))
        url = f"{'https' if tls else 'http'}://{servers[0][0]}:{servers[0][1]}/"
        command = [
            "wrk",
            f"-t{threads}",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout=30s",
            "-s",
            str(SCRIPT),
            url,
        ]
        output = subprocess.run(
            command, env=os.environ | {"BENCH_JOB": str(script)}, check=True, capture_output=True, text=True
        ).stdout
    seen = json.loads(output.splitlines()[-1])
    if seen["exhausted"] or not seen["requests"]:
        raise Exhausted  # what was asked for a second time is a 404, as it should be
    if seen["wrong"] or seen["errors"]:
        raise Void(str(seen))
    requests = seen["requests"] // (2 if job.acknowledgement else 1)
    return Run(requests / seen["seconds"], requests, seen["p50_ms"], seen["p99_ms"], seen["max_ms"])


def _lua(job: Job, servers: Sequence[tuple[str, int]], threads: int, ids: Path | None) -> str:
    listed = ", ".join(f"{{host = {_text(host)}, port = {port}}}" for host, port in servers)
    fields = [
        f"servers = {{{listed}}}",
        f"threads = {threads}",
        f"head = {_text(job.head)}",
        f"tail = {_text(job.tail)}",
        f"status = {job.status}",
        f"answer_head = {_text(job.answer_head)}",
        f"answer_tail = {_text(job.answer_tail)}",
        f"names_id = {'true' if job.names_id else 'false'}",
    ]
    if job.acknowledgement:
        fields.append(f"acknowledgement = {{{', '.join(map(_text, job.acknowledgement))}}}")
    if ids:
        fields.append(f"ids = {_text(str(ids))}")
    return f"return {{{', '.join(fields)}}}"


def _text(text: str) -> str:
    return '"' + "".join(c if c.isalnum() or c in " /-_.:" else f"\\{ord(c):03}" for c in text) + '"'


def missing_programs() -> list[str]:
    """What a machine has to have beside the virtual environment."""
    return [name for name in ("wrk",) if shutil.which(name) is None]
