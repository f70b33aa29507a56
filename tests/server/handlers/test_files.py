"""Notes with files over HTTP: upload, put, reveal, fetch, acknowledge, and everything that is refused."""

import json
import secrets

import psycopg2
import pytest

from server import sealed_files, sealing
from server.sealed_files import CHUNK_BYTES, MAX_REQUEST_BYTES, SEALED_CHUNK_BYTES, File
from tests.server.handlers.clients import JSON_CLIENT
from tests.server.handlers.conftest import DIGEST, STRETCHED, link_of, proofs_of
from tests.server.handlers.test_posting import OUTSIDE, ruled

pytestmark = pytest.mark.gen_test

BINARY = {"Content-Type": "application/octet-stream", "Accept": "application/json"}


class Letter:
    """A note with files, sealed as its writer would."""

    def __init__(self, *sizes, passphrase=False):
        self.keys = sealing.derive_keys(sealing.new_token(), STRETCHED if passphrase else b"")
        self.files = [File(f"file {n}", "", size) for n, size in enumerate(sizes)]
        self.passphrase = passphrase
        self.sealed = sealed_files.seal_note(self.keys, "see the files", self.files)
        self.upload, self.reader = secrets.token_bytes(32), secrets.token_bytes(32)
        self.file_bytes = sealed_files.stream_length(self.files)
        key = sealing.file_key_of(self.keys, self.sealed)
        self.plain = secrets.token_bytes(sum(sizes)).ljust(self.file_bytes, b"\0")
        count = sealed_files.chunk_count(self.file_bytes)
        self.chunks = [
            sealed_files.seal_chunk(
                key, n, n == count - 1, self.plain[n * CHUNK_BYTES : (n + 1) * CHUNK_BYTES]
            )
            for n in range(count)
        ]

    def body(self, first, *chunks):
        return self.upload + first.to_bytes(4, "big") + b"".join(chunks)

    @property
    def begin(self):
        return {"upload": sealing.to_text(self.upload), "file_bytes": self.file_bytes}

    @property
    def note(self):
        return {
            "sealed": sealing.to_text(self.sealed),
            "link_verifier": sealing.to_text(self.keys.link_verifier),
            "reveal_verifier": sealing.to_text(self.keys.reveal_verifier),
            "has_passphrase": self.passphrase,
            "upload": sealing.to_text(self.upload),
        }

    @property
    def claim(self):
        return proofs_of(self.keys) | {"reader": sealing.to_text(self.reader)}

    def opened(self, chunks):
        key = sealing.file_key_of(self.keys, self.sealed)
        pieces = [chunks[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(chunks), SEALED_CHUNK_BYTES)]
        return b"".join(sealed_files.open_stream(key, self.file_bytes, pieces))


async def ask(site, path, body, headers=JSON_CLIENT, method="POST"):
    """The status and the JSON, or the body if it is none."""
    if isinstance(body, bytes):
        headers = BINARY
    answer = await site.ask(method, path, headers, body)
    kind = answer.headers.get("Content-Type", "")
    return answer.code, json.loads(answer.body) if "json" in kind else answer.body


async def sent(site, letter):
    """The key of a letter that was put."""
    assert (await ask(site, "/upload", letter.begin))[0] == 200
    for first in range(0, len(letter.chunks), 16):
        body = letter.body(first, *letter.chunks[first : first + 16])
        assert await ask(site, "/upload/chunks", body) == (204, b"")
    status, note = await ask(site, "/post", letter.note)
    assert status == 201, note
    return note["key"]


async def fetch(site, key, letter, first=0):
    fields = {"reader": sealing.to_text(letter.reader), "first": first}
    return await ask(site, f"/{key}/chunks", fields)


def rows_of(service, letter):
    """How many chunks of a letter are stored."""
    with psycopg2.connect(service.settings.msg_db_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM chunk WHERE files = %s", (sealing.verifier_of(letter.upload),))
        ((count,),) = cursor.fetchall()
    connection.close()
    return count


def age(service, table, letter, key=None):
    """Make the letter's row an hour older."""
    where = {"upload": "id = %s", "delivery": "files = %s", "note": "files = %s"}[table]
    change = "expires_at = now()" if table == "note" else "at = at - interval '61 minutes'"
    with psycopg2.connect(service.settings.msg_db_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET {change} WHERE {where}", (sealing.verifier_of(letter.upload),))
        assert cursor.rowcount == 1
    connection.close()


async def test_files_go_there_and_back(site, service):
    """More chunks than one request takes are put, revealed to one reader, fetched, and gone when acknowledged."""
    letter = Letter(1_000_000, 0, 300_000)
    key = await sent(site, letter)
    status = await site.status(key, letter.keys)
    assert status["file_bytes"] == letter.file_bytes

    code, revealed = await ask(site, f"/{key}/reveal", letter.claim)
    assert (code, sealing.from_text(revealed["sealed"])) == (200, letter.sealed)
    first, rest = (await fetch(site, key, letter))[1], (await fetch(site, key, letter, 16))[1]
    assert len(first) == 16 * SEALED_CHUNK_BYTES
    assert letter.opened(first + rest) == letter.plain
    assert (await fetch(site, key, letter, 16))[1] == rest

    reader = sealing.to_text(letter.reader)
    assert (await ask(site, f"/{key}/received", {"reader": reader}))[0] == 204
    assert (await fetch(site, key, letter))[1] == first
    assert (await ask(site, f"/{key}/received", {"reader": reader, "files": True}))[0] == 204
    assert (await fetch(site, key, letter))[0] == 404
    assert rows_of(service, letter) == 0


async def test_only_the_reader_fetches(site):
    """Nobody fetches before the reveal, nor with another nonce, nor under another key."""
    letter, other = Letter(10), Letter(10)
    key, other_key = await sent(site, letter), await sent(site, other)
    assert (await fetch(site, key, letter))[0] == 404

    await ask(site, f"/{key}/reveal", letter.claim)
    await ask(site, f"/{other_key}/reveal", other.claim)

    assert (await fetch(site, key, letter))[0] == 200
    assert (await fetch(site, key, other))[0] == 404
    assert (await fetch(site, other_key, letter))[0] == 404


async def test_an_upload_goes_on_from_any_chunk(site):
    """The server says which chunk is missing first; chunks come in any order, and again."""
    letter = Letter(4 * CHUNK_BYTES)
    assert await ask(site, "/upload", letter.begin) == (200, {"chunks": 4, "next": 0})
    await ask(site, "/upload/chunks", letter.body(2, *letter.chunks[2:]))
    await ask(site, "/upload/chunks", letter.body(0, letter.chunks[0]))
    await ask(site, "/upload/chunks", letter.body(0, bytes(SEALED_CHUNK_BYTES)))
    assert await ask(site, "/upload", letter.begin) == (200, {"chunks": 4, "next": 1})
    code, problem = await ask(site, "/post", letter.note)
    assert (code, problem["next"]) == (409, 1)

    await ask(site, "/upload/chunks", letter.body(1, letter.chunks[1]))

    assert await ask(site, "/upload", letter.begin) == (200, {"chunks": 4, "next": 4})
    key = (await ask(site, "/post", letter.note))[1]["key"]
    await ask(site, f"/{key}/reveal", letter.claim)
    assert letter.opened((await fetch(site, key, letter))[1]) == letter.plain


async def test_a_repeated_put_is_the_same_note(site):
    """A writer that lost the answer asks again; an upload never makes two notes."""
    letter, thief = Letter(10), Letter(10)
    key = await sent(site, letter)

    assert (await ask(site, "/post", letter.note))[1]["key"] == key
    assert (await ask(site, "/post", thief.note | {"upload": letter.note["upload"]}))[0] == 404
    assert (await ask(site, "/upload/chunks", letter.body(0, letter.chunks[0])))[0] == 404


async def test_a_note_with_files_is_not_revealed_to_a_client_that_cannot_fetch(site):
    """Without a nonce, or with the token for the server to open: 409, and the note and its tries stay."""
    letter = Letter(10)
    token = sealing.new_token()
    letter.keys = sealing.derive_keys(token)
    letter.sealed = sealed_files.seal_note(letter.keys, "", letter.files)
    key = await sent(site, letter)

    for claim in (proofs_of(letter.keys), {"token": token}, {"token": token, "reader": DIGEST}):
        code, problem = await ask(site, f"/{key}/reveal", claim)
        assert (code, "files" in problem["detail"]) == (409, True)
    assert (await site.status(key, letter.keys))["wrong_passphrases"] == 0
    assert (await ask(site, f"/{key}/reveal", letter.claim))[0] == 200


async def test_a_wrong_passphrase_counts_for_a_note_with_files(site):
    """The budget of tries is that of every note."""
    letter = Letter(10, passphrase=True)
    key = await sent(site, letter)

    code, problem = await ask(site, f"/{key}/reveal", letter.claim | {"reveal_proof": DIGEST})
    assert (code, problem["tries_left"]) == (403, 9)
    assert (await ask(site, f"/{key}/reveal", letter.claim))[0] == 200


async def test_files_are_destroyed_with_their_note(site, service):
    """The same statement deletes the chunks."""
    letter = Letter(200_000)
    key = await sent(site, letter)
    assert rows_of(service, letter) == sealed_files.chunk_count(letter.file_bytes)

    assert (await ask(site, f"/{key}/destroy", link_of(letter.keys)))[0] == 204

    assert rows_of(service, letter) == 0


async def test_files_expire(site, service):
    """With their note unread, an hour after the reveal, and an hour after an upload began."""
    unread, revealed, begun, fresh = Letter(10), Letter(10), Letter(10), Letter(10)
    keys = [await sent(site, letter) for letter in (unread, revealed)]
    await ask(site, f"/{keys[1]}/reveal", revealed.claim)
    for letter in (begun, fresh):
        await ask(site, "/upload", letter.begin)
        await ask(site, "/upload/chunks", letter.body(0, *letter.chunks))
    for table, letter in (("note", unread), ("delivery", revealed), ("upload", begun)):
        age(service, table, letter)
    assert (await fetch(site, keys[1], revealed))[0] == 404
    assert (await ask(site, "/upload/chunks", begun.body(0, *begun.chunks)))[0] == 404
    assert (await ask(site, "/post", begun.note))[0] == 404

    await service.messages._notes.purge.files()

    assert [rows_of(service, letter) for letter in (unread, revealed, begun, fresh)] == [0, 0, 0, 1]
    assert (await site.status(keys[0], unread.keys))["status"] == "expired"
    assert (await ask(site, "/post", fresh.note))[0] == 201


async def test_a_cancelled_upload_leaves_nothing(site, service):
    """DELETE /upload; a note that was put with it stays."""
    letter, done = Letter(10), Letter(10)
    await ask(site, "/upload", letter.begin)
    await ask(site, "/upload/chunks", letter.body(0, *letter.chunks))
    key = await sent(site, done)

    for each in (letter, done):
        fields = {"upload": sealing.to_text(each.upload)}
        assert (await ask(site, "/upload", fields, method="DELETE"))[0] == 204

    assert [rows_of(service, each) for each in (letter, done)] == [0, 1]
    assert await site.holds(key)


async def test_an_upload_that_became_a_note_is_not_begun_again(site, service):
    """404: a second upload with its chunks would take them along when it is cancelled or purged."""
    letter = Letter(10)
    key = await sent(site, letter)

    assert (await ask(site, "/upload", letter.begin))[0] == 404
    await ask(site, "/upload", {"upload": sealing.to_text(letter.upload)}, method="DELETE")
    await ask(site, f"/{key}/reveal", letter.claim)
    assert (await ask(site, "/upload", letter.begin))[0] == 404
    assert letter.opened((await fetch(site, key, letter))[1]) == letter.plain


BIG = Letter(3 * CHUNK_BYTES)


@pytest.mark.parametrize(
    ("first", "chunks"),
    [
        (0, [BIG.chunks[0][:-1]]),
        (0, [BIG.chunks[0], b"x"]),
        (1, [*BIG.chunks[1:], b"x" * 17]),
        (3, [BIG.chunks[0]]),
        (2**31 - 1, [BIG.chunks[0]]),
        (2**31, [BIG.chunks[0]]),
        (2, [BIG.chunks[0]] * 16),
        (0, []),
    ],
)
async def test_chunks_that_do_not_fit_are_refused(site, service, first, chunks):
    """Too short, too long, too many, beyond the end: 400, and nothing is stored."""
    letter = Letter(3 * CHUNK_BYTES)
    await ask(site, "/upload", letter.begin)

    assert (await ask(site, "/upload/chunks", letter.body(first, *chunks)))[0] == 400
    assert rows_of(service, letter) == 0


async def test_a_body_that_is_too_long_is_refused(site):
    """413 beyond sixteen chunks; messages keep their own limit."""
    assert (await ask(site, "/upload/chunks", bytes(MAX_REQUEST_BYTES + 1)))[0] == 413
    code, problem = await ask(site, "/post", {"message": "x" * 430_000})
    assert (code, problem["field"]) == (413, "message")


@pytest.mark.parametrize(
    ("file_bytes", "code"),
    [
        (0, 400),
        (255, 400),
        (257, 400),
        (True, 400),
        ("256", 400),
        (None, 400),
        (1 << 41, 413),
        (100_663_296, 200),
    ],
)
async def test_lengths_are_checked_at_the_beginning(site, file_bytes, code):
    """A length must be padded, and within MAX_FILE_BYTES."""
    fields = {"upload": sealing.to_text(secrets.token_bytes(32)), "file_bytes": file_bytes}
    assert (await ask(site, "/upload", fields))[0] == code


async def test_versions_and_uploads_go_together(site):
    """A note in version 3 of the format needs an upload, one in version 2 takes none."""
    letter = Letter(10)
    text = letter.note | {"sealed": sealing.to_text(sealing.seal(letter.keys, "text"))}
    alone = {name: value for name, value in letter.note.items() if name != "upload"}

    for fields in (text, alone):
        code, problem = await ask(site, "/post", fields)
        assert (code, problem["field"]) == (400, "upload")


async def test_another_length_is_another_upload(site):
    """A nonce that was used for another length is refused."""
    letter = Letter(10)
    await ask(site, "/upload", letter.begin)
    assert (await ask(site, "/upload", letter.begin | {"file_bytes": 65536 * 2}))[0] == 404


async def test_rules_hold_for_files(http_client, seeded_key_db_url, handlers_msg_db_url):
    """Who may post, how many bytes in an hour, a full or read-only service, and files turned off."""
    letter = Letter(CHUNK_BYTES)
    for rules, code in (
        ({"POST_NETWORKS": "198.51.100.0/24"}, 401),
        ({"READ_ONLY": "true"}, 503),
        ({"PUT_BYTES_PER_HOUR": "60000"}, 429),
        ({"MAX_STORED_BYTES": "1"}, 507),
        ({"MAX_FILE_BYTES": "0"}, 404),
        ({"MAX_FILE_BYTES": "60000"}, 413),
    ):
        async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as (site, service):
            service.posting.stored_bytes = 1
            headers = JSON_CLIENT | OUTSIDE
            assert (await ask(site, "/upload", letter.begin, headers))[0] == code, rules
            if code in (401, 429, 503, 507):
                body = letter.body(0, *letter.chunks)
                assert (await ask(site, "/upload/chunks", body))[0] == code, rules


async def test_bytes_of_chunks_count(http_client, seeded_key_db_url, handlers_msg_db_url):
    """PUT_BYTES_PER_HOUR counts what was sent, not what was announced."""
    rules = {"PUT_BYTES_PER_HOUR": "140000"}
    async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as (site, _):
        letter = Letter(2 * CHUNK_BYTES)
        for _ in range(3):
            assert (await ask(site, "/upload", letter.begin))[0] == 200
        assert (await ask(site, "/upload/chunks", letter.body(0, letter.chunks[0])))[0] == 204
        assert (await ask(site, "/upload/chunks", letter.body(1, letter.chunks[1])))[0] == 204
        assert (await ask(site, "/upload/chunks", letter.body(1, letter.chunks[1])))[0] == 429


async def test_requests_with_chunks_are_bounded(site, service):
    """If too many are at work, the client is asked to come again: 503."""
    letter = Letter(10)
    key = await sent(site, letter)
    await ask(site, f"/{key}/reveal", letter.claim)
    files = service.messages.files
    busy = Letter(10)
    await ask(site, "/upload", busy.begin)

    free, files.fetches._free = files.fetches._free, 0
    assert (await fetch(site, key, letter))[0] == 503
    files.fetches._free = free
    assert (await fetch(site, key, letter))[0] == 200
    free, files.puts._free = files.puts._free, 0
    assert (await ask(site, "/upload/chunks", busy.body(0, *busy.chunks)))[0] == 503
    files.puts._free = free
    assert (await ask(site, "/upload/chunks", busy.body(0, *busy.chunks)))[0] == 204


async def test_only_bytes_are_chunks(site):
    """Another media type is refused: 415."""
    answer = await site.ask("POST", "/upload/chunks", JSON_CLIENT, {"upload": DIGEST})
    assert answer.code == 415
