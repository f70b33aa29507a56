"""Requests that another site makes a browser send are refused, and no others (docs/decisions/0006)."""

import http.server
import threading

import pytest

from tests.browser.conftest import OTHER_SITE, ask, leave

TOKEN_FORM = """<!doctype html><form method="post" action="{action}">
<input name="token" value="{token}"><button>Win a prize</button></form>"""


@pytest.fixture
def other_site():
    """Another site, which serves the text in `.page`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(server.page.encode())

        def log_message(self, *_):
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://{OTHER_SITE}:{server.server_address[1]}/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("act", ["reveal", "destroy"])
def test_a_form_on_another_site_is_refused(visitor, other_site, act):
    """A site that knows a link cannot make a visitor's browser reveal or destroy the note."""
    visitor.foresee("403", "favicon")
    link = leave(visitor.url, "hello")
    address, token = link.rsplit("/", 1)
    other_site.page = TOKEN_FORM.format(action=f"{address}/{act}", token=token)
    page = visitor.open(other_site.url)
    page.click("button")
    page.wait_for_selector("text=came from another site")
    assert ask(link, Accept="text/plain") == (200, "hello")


def test_a_form_on_another_site_puts_no_message(visitor, other_site):
    """Another site cannot make a visitor's browser put a message."""
    visitor.foresee("403", "favicon")
    other_site.page = f"""<form method="post" action="{visitor.url}/post">
        <input name="message" value="x"><button>Go</button></form>"""
    page = visitor.open(other_site.url)
    page.click("button")
    page.wait_for_selector("text=came from another site")


def test_a_link_on_another_site_leads_to_the_confirm_page(visitor, other_site):
    """A link on another site works, because following it changes nothing."""
    link = leave(visitor.url, "hello")
    visitor.foresee("favicon")
    other_site.page = f'<a href="{link}">Read</a>'
    page = visitor.open(other_site.url)
    page.click("a")
    assert visitor.reveal() == "hello"


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}],
    ids=str,
)
def test_a_request_that_is_marked_as_another_site_s_is_refused(url, headers):
    """If Sec-Fetch-Site, or without it Origin, names another site, the answer is 403, and the note stays."""
    link = leave(url, "hello")
    address, token = link.rsplit("/", 1)
    assert ask(f"{address}/reveal", {"token": token}, **headers)[0] == 403
    assert ask(link, Accept="text/plain") == (200, "hello")


@pytest.mark.parametrize("site", [None, "same-origin", "none"])
@pytest.mark.parametrize("origin", [None, "own", "null"])
def test_requests_of_this_site_and_of_other_clients_are_answered(url, site, origin):
    """The site's own pages, and clients such as curl that send neither header, may post."""
    headers = {"Accept": "text/plain"}
    if site:
        headers["Sec-Fetch-Site"] = site
    if origin:
        headers["Origin"] = url if origin == "own" else origin
    assert ask(f"{url}/post", {"message": "hello"}, **headers)[0] == 201
