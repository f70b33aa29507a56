"""How far ahead a client can send is bounded, whatever it sends."""

from server.httpd.transport import AHEAD, TURN, Server
from tests.server.httpd.test_transport import PATIENCE, Site, get

SMALLEST = b"GET / HTTP/1.1\r\nHost:a\r\n\r\n"


def test_few_requests_wait_for_the_one_before():
    """Parsed, they take far more memory than their bytes: few are, and most of the rest stays with the kernel."""
    with Site(Server) as site, site.connection() as connection:
        connection.send(get("/slow") + SMALLEST * 20_000)
        assert site.app.entered.wait(PATIENCE)
        site.do(lambda: None)
        (receiving,) = site.server.connections
        assert 0 < len(receiving.requests) <= AHEAD // len(SMALLEST)
        assert 0 < len(receiving.unparsed) < TURN
