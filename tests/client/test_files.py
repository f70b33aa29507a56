"""Files on the command line arrive unchanged, whatever breaks on the way."""

import json
import os
import secrets
from pathlib import Path

import pytest

from client import files
from client.failures import Exit
from client.http import Connection
from client.service import Service
from server import sealing

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "files-v1.json").read_text("utf-8"))


@pytest.fixture
def folder(tmp_path):
    """Where files are saved."""
    return tmp_path / "saved"


@pytest.fixture
def a_file(tmp_path):
    """Makes a file to send: `a_file("name", b"content")`; returns its path."""

    def make(name, content):
        path = tmp_path / "sent" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        return str(path)

    return make


def read(nw, link, folder, *more):
    done = nw("read", "--yes", "--json", "--output", str(folder), *more, link)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("vector", VECTORS["names"], ids=[each["name"][:20] for each in VECTORS["names"]])
def test_names_are_made_safe(vector):
    """As the browser makes them."""
    assert files.safe_name(vector["name"]) == vector["safe"]


def test_files_arrive_as_they_were(nw, sent, a_file, folder, way):
    """A text and files of every size come back. Nothing is sent unsealed, and only the owner may read what is saved."""
    content = {
        "large.bin": secrets.token_bytes(5_000_001),
        "empty": b"",
        "note.txt": b"the heron stands at dawn",
    }
    text = a_file("text", b"see the files")

    link, _ = sent("", "--file", text, *[a_file(name, data) for name, data in content.items()])
    answer = read(nw, link, folder)

    assert answer["message"] == "see the files"
    assert contents(folder) == content
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert not way.holds("the heron stands") and not way.holds("note.txt")
    assert nw("read", "--yes", "--output", str(folder), link).returncode == Exit.GONE


def test_nothing_is_replaced(nw, sent, a_file, folder):
    """An existing file stays, and files with the same name get numbers."""
    folder.mkdir()
    (folder / "a.txt").write_text("mine")
    link, _ = sent("", a_file("a.txt", b"one"))
    read(nw, link, folder)
    link, _ = sent("", a_file("a.txt", b"two"))
    read(nw, link, folder)

    assert contents(folder) == {"a.txt": b"mine", "a (2).txt": b"one", "a (3).txt": b"two"}


def test_files_need_a_folder(nw, sent, a_file, tmp_path):
    """Without a usable folder, the message stays unread."""
    link, _ = sent("", a_file("a", b"x"))
    (tmp_path / "file").write_text("")

    for arguments in ((), ("--output", str(tmp_path / "file"))):
        done = nw("read", "--yes", *arguments, link)
        assert (done.returncode, b"not opened" in done.stderr or b"Nothing was opened" in done.stderr) == (
            Exit.USAGE,
            True,
        )
    assert nw("status", link).stdout.startswith(b"The message is unread")


def test_run_refuses_files(nw, sent, a_file):
    """A message with files is not opened for a command that could not get them."""
    link, _ = sent("", a_file("a", b"x"))
    done = nw("run", "--secret", f"A={link}", "--", "true")
    assert (done.returncode, nw("status", link).stdout.startswith(b"The message is unread")) == (
        Exit.USAGE,
        True,
    )


@pytest.mark.parametrize("what", ["a folder", "a pipe", "no file", "too many"])
def test_what_cannot_be_sent_is_refused(nw, a_file, tmp_path, what, way):
    """Nothing is sent, and the words on the command line are not repeated."""
    os.mkfifo(tmp_path / "pipe")
    paths = {
        "a folder": [str(tmp_path)],
        "a pipe": [str(tmp_path / "pipe")],
        "no file": ["the heron stands"],
        "too many": [a_file(str(n), b"") for n in range(21)],
    }[what]
    done = nw("send", *paths)
    assert (done.returncode, done.stdout, bytes(way.sent)) == (Exit.USAGE, b"", b"")
    assert b"heron" not in done.stderr


@pytest.mark.parametrize("after", [0, 100, 200_000])
@pytest.mark.parametrize("request_", [b"POST /upload/chunks", b"/chunks HTTP", b"POST /post"])
def test_a_lost_answer_costs_nothing(nw, sent, a_file, folder, way, request_, after):
    """Whichever answer breaks off, and after however many bytes, the files arrive."""
    content = secrets.token_bytes(3_000_000)
    way.cuts[request_] = after
    link, _ = sent("", a_file("a", content))
    read(nw, link, folder)
    assert contents(folder) == {"a": content}


class Forgetful(Service):
    """A service whose database has lost chunks when the note is put for the first time."""

    def __init__(self, url, lose):
        super().__init__(Connection(url))
        self._lose = lose

    def put(self, *arguments):
        lose, self._lose = self._lose, lambda: None
        lose()
        return super().put(*arguments)


def test_chunks_that_the_service_lost_are_sent_again(nw, url, a_file, folder, msg_db):
    """The command sends them from the first missing one on and puts the note, and its files are complete."""
    content = secrets.token_bytes(2_500_000)
    service = Forgetful(url, lambda: msg_db("DELETE FROM chunk WHERE number IN (17, 30)"))
    token = sealing.new_token()
    with files.sources([a_file("empty", b""), a_file("a", content)]) as sources:
        placed = files.Upload(service, sealing.derive_keys(token), "hello", sources).put(False)
    read(nw, f"{url}/{placed.key}#{token}", folder)
    assert contents(folder) == {"a": content, "empty": b""}


def test_a_file_that_has_changed_is_not_sent_again(url, a_file, msg_db):
    """Two versions of a chunk under one nonce would reveal something about both."""
    path = Path(a_file("a", bytes(200_000)))

    def lose():
        msg_db("DELETE FROM chunk")
        path.write_bytes(b"x" * 200_000)

    with files.sources([str(path)]) as sources:
        upload = files.Upload(Forgetful(url, lose), sealing.derive_keys(sealing.new_token()), "", sources)
        with pytest.raises(files.Failure, match="changed while it was sent"):
            upload.put(False)


def test_a_service_that_loses_everything_is_given_up(url, a_file, msg_db):
    """After a few times, the command says so."""

    class Hopeless(Service):
        def put(self, *arguments):
            msg_db("DELETE FROM chunk")
            return super().put(*arguments)

    with files.sources([a_file("a", b"x")]) as sources:
        keys = sealing.derive_keys(sealing.new_token())
        with pytest.raises(files.Failure, match="again and again"):
            files.Upload(Hopeless(Connection(url)), keys, "", sources).put(False)


def test_a_changed_chunk_saves_nothing(nw, sent, a_file, folder, msg_db):
    """The command says so, and no part of a file is left."""
    link, _ = sent("", a_file("a", b"a" * 100), a_file("b", bytes(200_000)))
    msg_db("UPDATE chunk SET sealed = set_byte(sealed, 9, get_byte(sealed, 9) # 1) WHERE number = 2")
    done = nw("read", "--yes", "--output", str(folder), link)
    assert (done.returncode, contents(folder)) == (Exit.FAILED, {})
    assert b"damaged or changed" in done.stderr


def test_chunks_are_gone_once_they_are_saved(nw, sent, a_file, folder, msg_db):
    """The acknowledgement deletes them."""
    msg_db("DELETE FROM chunk")
    link, _ = sent("", a_file("a", bytes(100_000)))
    read(nw, link, folder)
    msg_db("DO $$ BEGIN ASSERT NOT EXISTS (SELECT FROM chunk); END $$")


def test_a_file_that_shrinks_is_noticed(tmp_path):
    """The index is sealed first, so the stream must have its length."""
    path = tmp_path / "a"
    path.write_bytes(b"1234")
    with files.sources([str(path)]) as sources:
        os.truncate(path, 2)
        with pytest.raises(files.Failure, match="shorter"):
            list(files._stream(sources, 256))
