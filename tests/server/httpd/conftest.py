"""The two transports, and a site on each."""

import pytest

from server.httpd.transport import Server
from tests.server.httpd.oracle import TornadoServer
from tests.server.httpd.site import Site

TRANSPORTS = {"httptools": Server, "tornado": TornadoServer}


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    return TRANSPORTS[request.param]


@pytest.fixture
def site(transport):
    with Site(transport) as site:
        yield site
