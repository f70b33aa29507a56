"""nginx/snippets/unsent.conf, buffers.conf, timeouts.conf: processes that die, clients that are slow."""

import collections
import contextlib
import http.client
import json
import socket
import threading

from tests.deploy.nginx.conftest import UNLIMITED, wait_for

TEXT = {"Accept": "text/plain"}
CLIENTS = 8
SLOW_SENDERS = 90  # below what one address may have at once


class Load:
    """Clients that look at notes, post and reveal them without pause until they are told to stop."""

    def __init__(self, nginx):
        self._nginx = nginx
        self._stop = threading.Event()
        self.statuses = collections.Counter()
        self.unexpected = []
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for_more(50)
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count):
        """Wait until this many more requests are answered."""
        wanted = self.statuses.total() + count
        wait_for(lambda: self.statuses.total() >= wanted, f"no {count} more answers")

    def _run(self):
        connection = self._nginx.connect()
        while not self._stop.is_set():
            try:
                status, _, body = self._ask(connection, "POST", "/post", json.dumps({"message": "m"}))
                if status == 201:
                    path = "/" + "/".join(json.loads(body)["url"].split("/")[-2:])
                    self._ask(connection, "GET", path[:6])
                    status, _, body = self._ask(connection, "GET", path, headers=TEXT)
                    if status == 200 and body != b"m":
                        self.unexpected.append(body)
            except (OSError, http.client.HTTPException) as error:
                self.unexpected.append(error)
                connection.close()
        connection.close()

    def _ask(self, connection, method, path, body=None, headers=None):
        headers = {"Accept": "application/json", "Content-Type": "application/json"} | (headers or {})
        answer = self._nginx.ask(method, path, body, headers, connection)
        self.statuses[answer[0]] += 1
        return answer


def test_a_killed_process_takes_only_what_it_held(mortal_servers, impatient):
    """Under load one process is killed and started again: but for what it held, every request is answered."""
    ports = {f"127.0.0.1:{server.port}" for server in mortal_servers}
    with Load(impatient) as load:
        mortal_servers[0].kill()
        load.wait_for_more(300)
        mortal_servers[0].revive()
        load.wait_for_more(100)
        wait_for(lambda: impatient.asked_lately() == ports, "the process that came back gets no requests")
    assert load.unexpected == []
    failed = load.statuses.total() - load.statuses[200] - load.statuses[201]
    assert failed <= CLIENTS, load.statuses
    assert set(load.statuses) <= {200, 201, 502}


def test_a_stopped_process_takes_nothing(mortal_servers, impatient):
    """Under load each process in turn is told to stop and started again: every request is answered."""
    ports = {f"127.0.0.1:{server.port}" for server in mortal_servers}
    with Load(impatient) as load:
        for server in mortal_servers:
            server.stop()
            load.wait_for_more(100)
            server.revive()
            wait_for(lambda: impatient.asked_lately() == ports, "the process that came back gets no requests")
    assert load.unexpected == []
    assert set(load.statuses) == {200, 201}, impatient.failures()


def test_a_request_that_was_sent_is_never_repeated(mortal_servers, impatient):
    """If a process dies while it handles a request, nginx does not repeat it: it may have been carried out."""
    key, token = impatient.post_note()
    for server in mortal_servers:
        server.pause()
    connection = impatient.connect()
    connection.request("GET", f"/{key}/{token}", headers={"Accept": "application/json"})

    wait_for(lambda: impatient.connections_to_servers() > 0, "no process was asked")
    for server in mortal_servers:
        server.kill()
    # They come back at once: a repeated request would find one of them.
    for server in mortal_servers:
        server.revive()
    response = connection.getresponse()
    problem = json.loads(response.read())
    connection.close()
    assert (response.status, problem["title"], response.headers["Retry-After"]) == (502, "Bad Gateway", "2")
    tries = wait_for(lambda: impatient.access_log()[-1], "nothing is logged")["upstream_status"]
    assert tries == "502", "it was tried more than once"


def test_a_request_that_was_not_sent_goes_to_another_process(mortal_servers, impatient):
    """With one process gone, no request fails, not even the first one."""
    mortal_servers[1].kill()
    message = "unsent " * 9000  # nginx passes it on in parts
    for _ in range(6):
        key, token = impatient.post_note(message)
        assert impatient.ask("GET", f"/{key}")[0] == 200
        assert impatient.ask("GET", f"/{key}/{token}", headers=TEXT)[::2] == (200, message.encode())
    tried = [line["upstream_status"] for line in impatient.access_log()]
    assert any(status.startswith("502 : 20") for status in tried), "the dead process was never tried"


def test_with_no_process_left_the_answer_is_502_at_once(mortal_servers, impatient):
    """The error is in the client's format, and ends when the processes are back."""
    for server in mortal_servers:
        server.kill()
    for _ in range(3):
        status, headers, body = impatient.ask("GET", "/AAAAA", headers={"Accept": "application/json"})
        assert (status, headers["Retry-After"], json.loads(body)["status"]) == (502, "2", 502)
    mortal_servers[0].revive()
    assert wait_for(lambda: impatient.ask("GET", "/AAAAA")[0] == 404, "it does not come back")


def test_a_silent_process_is_a_504_that_promises_nothing(mortal_servers, impatient):
    """The page says that the request may have been carried out."""
    for server in mortal_servers:
        server.pause()
    body = impatient.ask("GET", "/AAAAA", headers=TEXT)[2]
    assert body == b"The service did not answer in time. It may have done what you asked for.\n"
    mortal_servers[0].revive()
    mortal_servers[0].pause()
    status, line = impatient.ask_and_log("GET", "/AAAAA", headers=TEXT)
    assert (status, line["upstream_status"]) == (504, "504"), "it was tried more than once"


def test_slow_senders_hold_no_server_process(servers, start_nginx):
    """nginx waits for small bodies that never end: no server process hears of them."""
    nginx = start_nginx(servers, **UNLIMITED)
    head = b"POST /AAAAA/reveal HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"
    with contextlib.ExitStack() as stack:
        for _ in range(SLOW_SENDERS):
            plain = stack.enter_context(socket.create_connection(("localhost", nginx.https_port)))
            secure = stack.enter_context(nginx.tls_context().wrap_socket(plain, server_hostname="localhost"))
            secure.sendall(head)
        wait_for(lambda: nginx.reading() >= SLOW_SENDERS, "nginx does not wait for them")
        assert nginx.post_note("beside them")
        assert nginx.connections_to_servers() <= 1
    wait_for(lambda: len(nginx.access_log()) > SLOW_SENDERS, "their end is not logged")
    assert {line["upstream"] for line in nginx.access_log() if line["status"] == 400} == {""}


def test_a_message_never_touches_the_disk(servers, start_nginx):
    """The longest request and answer pass where nginx has no folder to put a temporary file into."""
    nginx = start_nginx(servers)
    for name in ("body", "proxy"):
        (nginx.folder / name).rmdir()
    body = json.dumps({"message": "\x01" * 65536})
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    status, _, answer = nginx.ask("POST", "/post", body, headers)
    assert status == 201
    path = "/" + "/".join(json.loads(answer)["url"].split("/")[-2:])
    assert len(nginx.ask("GET", path, headers={"Accept": "application/json"})[2]) > 6 * 65536
