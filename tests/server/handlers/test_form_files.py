"""Files for clients without a script: the server seals what a form has, and opens what its page asks for."""

import asyncio
import html
import re
import secrets
from urllib.parse import unquote

import psycopg2
import pytest

from server import sealed_files, sealing
from server.notes import delivery_id
from tests.server.handlers.clients import BROWSER, CURL, JSON_CLIENT
from tests.server.handlers.conftest import DIGEST, FORM
from tests.server.handlers.test_files import Letter, ask, sent
from tests.server.handlers.test_posting import ruled

pytestmark = pytest.mark.gen_test

BOUNDARY = "b0undary"
LARGEST = 16 * 65536


def part(disposition, content):
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n"
    return head.encode() + content + b"\r\n"


def a_file(name, content, field="file"):
    return part(f'name="{field}"; filename="{name}"', content)


def form(*parts):
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def put(site, *parts, asker=CURL, boundary=BOUNDARY, body=None):
    headers = {**asker, "Content-Type": f"multipart/form-data; boundary={boundary}"}
    return await site.ask("POST", "/post", headers, form(*parts) if body is None else body)


async def opened(site, link, passphrase=""):
    """The page that a reader without a script gets after choosing to read."""
    path = link.removeprefix("https://notes.test")
    body = f"present=yes&passphrase={passphrase}"
    return await site.ask("POST", path, {**BROWSER, "Content-Type": FORM}, body)


def forms_of(page):
    """The path and the fields of each file's form on a page."""
    forms = re.findall(r'<form method="post" action="([^"]+/file)".*?</form>', page, re.DOTALL)
    parts = re.findall(r'<form method="post" action="[^"]+/file".*?</form>', page, re.DOTALL)
    fields = [dict(re.findall(r'name="(\w+)" value="([^"]*)"', each)) for each in parts]
    return [
        (path, {name: html.unescape(value) for name, value in each.items()})
        for path, each in zip(forms, fields, strict=True)
    ]


async def save(site, path, fields):
    """What the button of a file gets: the status, the file's name and its bytes."""
    numbers = {name: int(fields[name]) for name in ("file_bytes", "start", "size")}
    answer = await site.ask("POST", path, JSON_CLIENT, {**fields, **numbers})
    disposition = answer.headers.get("Content-Disposition", "")
    return answer.code, unquote(disposition.removeprefix("attachment; filename*=UTF-8''")), answer.body


async def test_files_go_through_forms_both_ways(site):
    """Text and files come back exactly, under their names, in any order and repeatedly."""
    large, small = secrets.token_bytes(900_001), b"the heron stands"
    answer = await put(
        site,
        part('name="message"', b"see the files\r\n"),
        part('name="lifetime"', b"300"),
        a_file("gro\xc3\x9f.bin".encode("latin1").decode(), large),
        a_file("heron.txt", small),
        a_file("empty", b""),
    )
    assert answer.code == 201

    page = await opened(site, answer.body.decode().strip())
    text = page.body.decode()

    assert page.code == 200
    assert "see the files\n" in text
    forms = forms_of(text)
    assert [(await save(site, *each))[1:] for each in reversed(forms * 2)] == [
        ("empty", b""),
        ("heron.txt", small),
        ("groß.bin", large),
    ] * 2
    assert (await opened(site, answer.body.decode().strip())).code == 404


async def test_a_saved_file_is_an_attachment(site):
    """No browser shows it, whatever it is."""
    answer = await put(site, a_file("a.html", b"<script>"))
    ((path, fields),) = forms_of((await opened(site, answer.body.decode().strip())).body.decode())
    numbers = {name: int(fields[name]) for name in ("file_bytes", "start", "size")}
    saved = await site.ask("POST", path, JSON_CLIENT, {**fields, **numbers})

    assert saved.headers["Content-Type"] == "application/octet-stream"
    assert saved.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.html"
    assert saved.headers["X-Content-Type-Options"] == "nosniff"
    assert saved.headers["Cache-Control"] == "no-store"


async def test_a_client_that_opens_notes_itself_can_read_them(site):
    """The format is that of every note with files."""
    content = secrets.token_bytes(100_000)
    url = (await put(site, part('name="message"', b"hello"), a_file("a", content))).body.decode().strip()
    key, token = url.split("/")[-2:]
    keys, reader = sealing.derive_keys(token), sealing.to_text(secrets.token_bytes(32))
    claim = {
        "link_proof": sealing.to_text(keys.link_proof),
        "reveal_proof": sealing.to_text(keys.reveal_proof),
        "reader": reader,
    }

    sealed = sealing.from_text((await ask(site, f"/{key}/reveal", claim))[1]["sealed"])
    chunks = (await ask(site, f"/{key}/chunks", {"reader": reader, "first": 0}))[1]

    message, files = sealed_files.open_note(keys, sealed)
    pieces = [chunks[:65552], chunks[65552:]]
    file_bytes = sealed_files.stream_length(files)
    stream = b"".join(sealed_files.open_stream(sealing.file_key_of(keys, sealed), file_bytes, pieces))
    assert (message, files) == ("hello", [sealed_files.File("a", "", 100_000)])
    assert stream[:100_000] == content


async def test_a_passphrase_protects_files(site):
    """A wrong one, and none, destroy nothing; the form asks again."""
    answer = await put(site, part('name="passphrase"', b"oak"), a_file("a", b"x"))
    link = answer.body.decode().strip()
    for passphrase in ("elm", ""):
        assert (await opened(site, link, passphrase)).code == 403

    ((path, fields),) = forms_of((await opened(site, link, "oak")).body.decode())

    assert await save(site, path, fields) == (200, "a", b"x")


async def test_one_reader_gets_the_files(site):
    """Of twenty who open the link together, one sees the page."""
    link = (await put(site, a_file("a", b"x"))).body.decode().strip()
    pages = await asyncio.gather(*[opened(site, link) for _ in range(20)])
    assert sorted(page.code for page in pages) == [200] + [404] * 19


async def test_only_the_page_s_own_fields_get_a_file(site, service):
    """Other fields, or another note, open nothing; an hour later, neither do these."""
    link = (await put(site, a_file("a", bytes(100)))).body.decode().strip()
    ((path, fields),) = forms_of((await opened(site, link)).body.decode())
    letter = Letter(10)

    assert (await save(site, path, fields | {"file_key": DIGEST}))[0] == 422
    assert (await save(site, path, fields | {"size": "300"}))[0] == 422
    assert (await save(site, path, fields | {"reader": DIGEST}))[0] == 404
    assert (await save(site, path, fields | {"size": str(LARGEST + 1)}))[0] == 400
    key = await sent(site, letter)
    assert (await save(site, f"/{key}/file", fields))[0] == 404
    assert (await save(site, path, fields))[0] == 200

    delivery = delivery_id(path.split("/")[1], sealing.from_text(fields["reader"]))
    with psycopg2.connect(service.settings.msg_db_url) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE delivery SET at = at - interval '61 minutes' WHERE id = %s", (delivery,))
    connection.close()
    assert (await save(site, path, fields))[0] == 404


@pytest.mark.parametrize("asker", [CURL, JSON_CLIENT])
async def test_a_program_gets_no_page(site, asker):
    """It is told how to read a note with files, which stays."""
    link = (await put(site, a_file("a", b"x"))).body.decode().strip()
    path = link.removeprefix("https://notes.test")
    assert (await site.ask("GET", path, asker)).code == 409
    assert (await site.ask("POST", path, {**asker, "Content-Type": FORM}, "present=yes")).code == 409
    assert (await opened(site, link)).code == 200


async def test_large_files_are_left_for_a_script(site):
    """The page says what opens them, and nothing is destroyed."""
    letter = Letter(LARGEST + 1)
    token = sealing.new_token()
    letter.keys = sealing.derive_keys(token)
    letter.sealed = sealed_files.seal_note(letter.keys, "", letter.files)
    key = await sent(site, letter)

    page = await opened(site, f"/{key}/{token}")

    assert (page.code, "It is untouched." in page.body.decode()) == (409, True)
    assert await site.holds(key)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (r"C:\\Users\\me\\a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("..", "file"),
        ("con.txt", "_con.txt"),
        ("a\u202egpj.exe", "agpj.exe"),
        ("x" * 300 + ".pdf", "x" * 196 + ".pdf"),
    ],
)
async def test_names_are_made_safe(site, given, kept):
    """A name has no path and nothing that misleads, even if another program sent it."""
    link = (await put(site, a_file(given, b"x"))).body.decode().strip()
    ((path, fields),) = forms_of((await opened(site, link)).body.decode())
    assert await save(site, path, fields | {"name": f"../{given}"[-200:]}) != (200, given, b"x")
    assert await save(site, path, fields) == (200, kept, b"x")


async def test_a_form_without_a_file_is_a_message(site):
    """A browser sends an empty part if nothing was chosen; a part without a name is a file."""
    nothing = part('name="file"; filename=""', b"")
    link = (await put(site, part('name="message"', b"hello"), nothing)).body.decode().strip()
    assert (await site.ask("GET", link.removeprefix("https://notes.test"), CURL)).body == b"hello"

    link = (await put(site, part('name="file"', b"x"))).body.decode().strip()
    ((path, fields),) = forms_of((await opened(site, link)).body.decode())
    assert await save(site, path, fields) == (200, "file", b"x")


HELLO = part('name="message"', b"hello")
IDNA = part("name=\"file\"; filename*=idna'en'%41", b"x")


@pytest.mark.parametrize(
    ("parts", "code", "words"),
    [
        ([HELLO, a_file("a", bytes(LARGEST + 1))], 413, "may have at most 1,048,576 bytes together"),
        ([a_file("a", bytes(LARGEST)), a_file("b", b"x")], 413, "may have at most 1,048,576 bytes together"),
        ([HELLO, a_file("a", bytes(2 * LARGEST))], 413, "may have at most 1,048,576 bytes together"),
        ([a_file(str(n), b"") for n in range(21)], 400, "at most 20 files"),
        ([a_file(str(n), b"") for n in range(50)], 400, "malformed"),
        ([HELLO, HELLO], 400, "duplicate field"),
        ([HELLO, a_file("a", b"x", field="other")], 400, "unknown field"),
        ([HELLO, part('name="other"', b"x")], 400, "unknown field"),
        ([HELLO, a_file("a", b"x", field="message")], 400, "unknown field"),
        ([part('name="message"', b"\xff")], 400, "malformed"),
        ([part("filename=a", b"x")], 400, "malformed"),
        ([a_file("a" * 5000, b"x")], 400, "malformed"),
        ([b"junk"], 400, "malformed"),
        ([part('name="lifetime"', b"soon"), a_file("a", b"")], 400, "lifetime"),
        ([], 400, "missing or empty"),
        ([IDNA], 400, "malformed"),
        ([part("name=\"file\"; filename*=unicode_escape'en'%5Cud800", b"x")], 201, ""),
        ([part("name=\"file\"; filename*=nonsense'en'%41", b"x")], 201, ""),
    ],
)
async def test_hostile_forms_are_answered(site, parts, code, words):
    """Each is refused in words, and none is an error of the server."""
    answer = await put(site, *parts, asker=JSON_CLIENT)
    assert (answer.code, words in answer.body.decode()) == (code, True)


@pytest.mark.parametrize("boundary", ["other", "", "x; boundary=", '"', "b0undary\u00e9"])
async def test_a_wrong_boundary_is_refused(site, boundary):
    """The body has no parts then."""
    answer = await put(site, HELLO, asker=JSON_CLIENT, boundary=boundary)
    assert answer.code == 400


async def test_a_body_that_is_cut_off_is_refused(site):
    """Without its last boundary, a form is not whole."""
    body = form(HELLO, a_file("a", bytes(1000)))[:-8]
    assert (await put(site, body=body)).code == 400


async def test_a_page_keeps_what_was_written(site):
    """A browser gets its form back with the message, and with the problem above its button."""
    parts = [HELLO, part('name="passphrase"', b"secret words"), a_file("a", bytes(LARGEST + 1))]
    answer = await put(site, *parts, asker=BROWSER)
    page = answer.body.decode()
    assert answer.code == 413
    assert "hello</textarea>" in page
    assert "secret words" not in page
    assert re.search(r'id="problem"[^>]*>\s*\S', page)


async def test_other_routes_take_no_files(site):
    """415, as for every type that is not known."""
    headers = {**JSON_CLIENT, "Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    assert (await site.ask("POST", "/upload", headers, form(HELLO))).code == 415


async def test_rules_hold_for_forms_with_files(http_client, seeded_key_db_url, handlers_msg_db_url):
    """Files turned off, a smaller limit, and the bytes of an hour."""
    for rules, code in (
        ({"MAX_FILE_BYTES": "0"}, 400),
        ({"MAX_FILE_BYTES": "500"}, 413),
        ({"PUT_BYTES_PER_HOUR": "900"}, 429),
        ({"MAX_FILE_BYTES": "2000"}, 201),
    ):
        async with ruled(http_client, seeded_key_db_url, handlers_msg_db_url, **rules) as (site, _):
            answer = await put(site, a_file("a", bytes(1000)), asker=JSON_CLIENT)
            assert answer.code == code, rules


async def test_forms_with_files_are_bounded(site, service):
    """They share the places of uploads: 503 if all are taken."""
    files = service.messages.files
    free, files.puts._free = files.puts._free, 0
    assert (await put(site, a_file("a", b"x"), asker=JSON_CLIENT)).code == 503
    assert (await put(site, HELLO, asker=JSON_CLIENT)).code == 201
    files.puts._free = free
    assert (await put(site, a_file("a", b"x"), asker=JSON_CLIENT)).code == 201
