"""docs/operating.md's example of an authenticating proxy, with nginx and passwords in place of oauth2-proxy.

The stand-in does what the example's options say: it asks for a sign-in but on the routes that they skip, takes the
user's header from clients, and sends its own. oauth2-proxy's own part, OpenID Connect, is not tried.
"""

import base64
import re
import subprocess
from urllib.parse import urlencode

import pytest

from tests.deploy.nginx.conftest import NGINX, REPOSITORY, UNLIMITED, free_ports, wait_for

HEADER = "X-Forwarded-User"
SIGNED_IN = {"Authorization": "Basic " + base64.b64encode(b"alice:secret").decode()}
PAGE = {"Accept": "text/html"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}

STAND_IN = """
daemon off;
pid {folder}/stand-in.pid;
error_log {folder}/stand-in.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    scgi_temp_path {folder}/scgi;
    uwsgi_temp_path {folder}/uwsgi;
    map $uri $realm {{
        default "sign in";
        {skipped}
    }}
    map $realm $user {{
        default $remote_user;
        off     "";
    }}
    server {{
        listen 127.0.0.1:{port};
        auth_basic $realm;
        auth_basic_user_file {folder}/passwords;
        location / {{
            proxy_pass http://127.0.0.1:{server};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header Authorization "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header {header} $user;
        }}
    }}
}}
"""


class Upstream:
    """What nginx sees as a server process."""

    def __init__(self, port, server):
        self.port, self.log = port, server.log


@pytest.fixture(scope="module")
def site(start_servers, start_nginx, folders):
    """nginx, the stand-in behind it with the example's routes, and a server that believes it."""
    (example,) = re.findall(
        r"^ *oauth2-proxy (--provider.*?)^ *```", (REPOSITORY / "docs/operating.md").read_text(), re.M | re.S
    )
    skipped = re.findall(r"--skip-auth-route='([^']+)'", example)
    (server,) = start_servers(1, POST_USER_HEADER=HEADER)
    folder, (port,) = folders(), free_ports(1)
    (folder / "passwords").write_text("alice:{PLAIN}secret\n")
    routes = "\n".join(f'"~{route}" off;' for route in skipped)
    (folder / "stand-in.conf").write_text(
        STAND_IN.format(folder=folder, port=port, server=server.port, skipped=routes, header=HEADER)
    )
    stand_in = subprocess.Popen([NGINX, "-c", folder / "stand-in.conf", "-e", folder / "stand-in.log"])
    wait_for((folder / "stand-in.pid").exists, "the stand-in does not start")
    yield start_nginx([Upstream(port, server)], **UNLIMITED)
    stand_in.terminate()
    stand_in.wait()


def put(site, **headers):
    return site.ask(
        "POST", "/post", urlencode({"message": "hello"}), {"Accept": "text/plain", **FORM, **headers}
    )


def test_who_signed_in_may_put(site):
    """The form and the put need a sign-in, and a header that a client makes up is none."""
    assert site.ask("GET", "/", headers=PAGE)[0] == 401
    assert site.ask("GET", "/", headers=PAGE | SIGNED_IN)[0] == 200
    assert put(site, **SIGNED_IN)[0] == 201
    assert put(site)[0] == 401
    assert put(site, **{HEADER: "alice"})[0] == 401


def test_readers_need_no_sign_in(site):
    """A reader gets the page behind a link, every file that the page names, and the message."""
    link = put(site, **SIGNED_IN)[2].decode().strip()
    path = "/" + link.split("/", 3)[3]

    status, _, page = site.ask("GET", path, headers=PAGE)
    assert status == 200
    files = set(re.findall(r'(?:href|src)="(/[^"]+\?v=[^"]+)"', page.decode()))
    assert any(".css" in file for file in files) and any("manifest" in file for file in files)
    assert {file: site.ask("GET", file)[0] for file in files} == dict.fromkeys(files, 200)

    assert site.ask("GET", path, headers={"Accept": "text/plain"})[::2] == (200, b"hello")
