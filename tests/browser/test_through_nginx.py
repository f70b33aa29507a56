"""The pages as people get them: through the real nginx, over TLS, with the limits of production."""

from types import SimpleNamespace

import pytest

from tests.browser import test_accessibility as states
from tests.browser.test_several_readers import seal_for
from tests.deploy.nginx.conftest import NGINX, Nginx, certificate, folders  # noqa: F401
from tests.server_process import free_port, serving

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BURST = 20  # of puts from one address, nginx/templates/limits/post.conf.template


@pytest.fixture
def nginx(databases, folders, certificate, monkeypatch):  # noqa: F811
    """nginx that has not counted anybody yet, in front of a server process."""
    if NGINX is None:
        pytest.skip("nginx is not installed (apt-get install nginx-light libnginx-mod-stream)")
    server = SimpleNamespace(port=free_port())
    nginx = Nginx(
        folders(), [server], POST_RATE="12r/m", **certificate
    )  # slow: a burst stays a burst on any machine
    settings = {
        "PORT": str(server.port),
        "PUBLIC_URL": nginx.settings["PUBLIC_URL"],
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    monkeypatch.setenv("SSL_CERT_FILE", certificate["TLS_CERTIFICATE"])  # for requests without a browser
    with serving({**databases, **settings}):
        yield nginx
    nginx.stop()


@pytest.fixture
def arrive(nginx, visit):  # in this order, so that the visitors leave before nginx stops
    """Makes visitors who come to nginx: `arrive(**context_options)`."""
    return lambda **options: visit(nginx.settings["PUBLIC_URL"], ignore_https_errors=True, **options)


def test_a_message_goes_its_way(arrive):
    """It is written, and its reader opens it."""
    link = arrive().write("hello")
    reader = arrive()
    reader.open(link)
    assert reader.reveal() == "hello"


def test_twenty_readers_are_no_flood(arrive, nginx):
    """As many puts as there can be readers pass at once."""
    assert len(seal_for(arrive(), BURST)) == BURST
    assert {line["status"] for line in nginx.access_log() if line["route"] == "/post"} == {201}


def test_readers_of_somebody_with_busy_neighbours(arrive, nginx):
    """If others behind the same address have used up what it may put, the page waits as nginx says, and makes all."""
    connection = nginx.connect()
    while nginx.ask("POST", "/post", "", FORM, connection)[0] != 429:
        pass
    connection.close()
    visitor = arrive()
    visitor.foresee("429")
    assert len(seal_for(visitor, 3)) == 3


@pytest.mark.parametrize("state", [states.form, states.confirm, states.gone, states.how_it_works])
def test_nothing_moves_while_a_page_loads(arrive, state):
    """What is seen stays in its place when the scripts and the server's answer arrive (CLS 0)."""
    visitor = arrive(viewport={"width": 412, "height": 823}, is_mobile=True, has_touch=True)
    visitor.page.add_init_script("""
        globalThis.moved = 0;
        new PerformanceObserver((list) => { for (const { value } of list.getEntries()) moved += value; })
            .observe({ type: "layout-shift", buffered: true });
    """)
    state(visitor)
    visitor.page.wait_for_load_state("networkidle")
    assert visitor.page.evaluate("moved") == 0
