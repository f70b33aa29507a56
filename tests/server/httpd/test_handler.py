"""A handler on the fast path answers as Tornado's would, or says that it cannot."""

import asyncio

import pytest
import tornado.web

from server.httpd.handler import Application, Handler
from server.httpd.headers import Headers
from server.httpd.transport import Limits, Server
from tests.server_process import free_port

pytestmark = pytest.mark.gen_test


class Plain(Handler):
    """The least that a handler needs."""

    first_headers = Headers.constant({"X-First": "first"})

    def initialize(self, events=None):
        self.in_progress, self.events = set(), events

    def on_finish(self):
        self.events.append(f"finished with {self.get_status()}")


class Pieces(Plain):
    """Answers in pieces."""

    async def get(self):
        self.write("one ")
        await self.flush()
        self.write("two ")
        self.finish("three")

    head = get


class Parts(Plain):
    """Puts its answer together before it is sent."""

    def get(self):
        self.write("one ")
        self.write("two")

    head = get


class Twice(Plain):
    """Finishes twice by mistake."""

    def get(self):
        self.finish("once")
        self.finish("twice")

    head = get


class Cookie(Plain):
    """Sets a cookie."""

    def get(self):
        self.set_cookie("a", "b")
        self.finish("with a cookie")


class Argument(Plain):
    """Asks Tornado for a form's field."""

    def post(self):
        self.finish(self.get_body_argument("a", "missing"))


class Waiting(Plain):
    """Answers when its client has left."""

    async def get(self):
        self.events.append("entered")
        await asyncio.Event().wait()


@pytest.fixture
def events():
    return []


@pytest.fixture
def app(events):
    arguments = {"events": events}
    handlers = [
        ("/pieces", Pieces, arguments),
        ("/parts", Parts, arguments),
        ("/twice", Twice, arguments),
        ("/cookie", Cookie, arguments),
        ("/argument", Argument, arguments),
        ("/waiting", Waiting, arguments),
    ]
    return Application(handlers, log_function=lambda handler: None)


@pytest.fixture
def http_port():
    return free_port()


@pytest.fixture
def base_url(http_port):
    return f"http://127.0.0.1:{http_port}"


@pytest.fixture
def http_server(io_loop, app, http_port):
    server = Server(app, Limits(1000))
    io_loop.run_sync(lambda: server.listen(http_port, "127.0.0.1"))
    yield server
    server.stop()
    io_loop.run_sync(server.close)


@pytest.mark.parametrize(
    ("path", "body", "length"),
    [("/pieces", b"one two three", None), ("/parts", b"one two", "7"), ("/twice", b"once", "4")],
)
async def test_an_answer_may_be_written_in_another_way(
    http_server, http_client, base_url, path, body, length
):
    """In pieces, in parts or once too often: the client gets what Tornado would send."""
    whole = await http_client.fetch(base_url + path)
    head = await http_client.fetch(base_url + path, method="HEAD")

    assert (whole.code, whole.body) == (200, body)
    assert (head.code, head.body) == (200, b"")
    if length is not None:
        assert whole.headers["Content-Length"] == head.headers["Content-Length"] == length


@pytest.mark.parametrize("path", ["/pieces", "/parts", "/twice"])
async def test_on_finish_is_called_once_after_each_answer(http_server, http_client, base_url, path, events):
    """On the fast path as on Tornado's."""
    await http_client.fetch(base_url + path)

    assert events == ["finished with 200"]


async def test_on_finish_is_called_if_the_client_leaves(http_server, http_port, events):
    """The status says so."""
    _, writer = await asyncio.open_connection("127.0.0.1", http_port)
    writer.write(b"GET /waiting HTTP/1.1\r\nHost: here\r\n\r\n")
    while "entered" not in events:
        await asyncio.sleep(0)
    writer.close()
    while len(events) < 2:
        await asyncio.sleep(0)

    assert events == ["entered", "finished with 499"]


@pytest.mark.parametrize(("method", "path", "body"), [("GET", "/cookie", None), ("POST", "/argument", "a=b")])
async def test_what_is_not_supported_fails(http_server, http_client, base_url, method, path, body):
    """A cookie that would not be sent and a field that would not be found are errors, not silence."""
    answer = await http_client.fetch(base_url + path, method=method, body=body, raise_error=False)

    assert answer.code == 500


async def test_a_handler_that_would_be_called_wrongly_is_refused_as_it_is_defined():
    """A coroutine as `prepare` would never be awaited, other hooks never be called."""

    async def prepare(self):
        pass

    def hook(self, *_):
        pass

    for name, method in (("prepare", prepare), ("set_default_headers", hook), ("data_received", hook)):
        with pytest.raises(TypeError, match=name):
            type("Wrong", (Handler,), {name: method})


@pytest.mark.parametrize("setting", ["xsrf_cookies", "compress_response"])
async def test_a_setting_of_tornado_that_would_be_ignored_is_refused(setting):
    """The application says so when it is made."""
    with pytest.raises(TypeError, match=setting):
        Application([], **{setting: True})


async def test_a_path_that_is_no_text_is_refused(io_loop, http_client, events):
    """What a URL encodes must be UTF-8."""
    port = free_port()
    server = Server(Application([("/(.*)", Parts, {"events": events})]), Limits(1000))
    await server.listen(port, "127.0.0.1")

    answer = await http_client.fetch(f"http://127.0.0.1:{port}/%ff%fe", raise_error=False)

    assert answer.code == 400
    server.stop()
    await server.close()


async def test_tornado_s_own_handlers_are_found_as_well(io_loop, http_client, tmp_path):
    """Files are served by Tornado's handler."""
    (tmp_path / "file").write_text("content")
    port = free_port()
    server = Server(Application([("/(.*)", tornado.web.StaticFileHandler, {"path": tmp_path})]), Limits(1000))
    await server.listen(port, "127.0.0.1")

    answer = await http_client.fetch(f"http://127.0.0.1:{port}/file")

    assert answer.body == b"content"
    server.stop()
    await server.close()
