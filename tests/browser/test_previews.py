"""Programs without a browser at the link: previews, scanners and crawlers open nothing.

Each behaviour says what it imitates. Each gets a link whose token the server sees, which is the kind that can be lost.
"""

import re
import urllib.error
import urllib.request
from html import unescape
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin

import pytest

from tests.browser.conftest import is_unread, leave

OUTLOOK = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"


PREVIEWS = {
    "Slack": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Facebook and WhatsApp": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "WhatsApp": "WhatsApp/2.23.20.0 A",
    "Telegram": "TelegramBot (like TwitterBot)",
    "Discord": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "Teams": "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5",
    "Apple's Messages": "Mozilla/5.0 (Macintosh) AppleWebKit/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    "LinkedIn": "LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
    "Google": "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "a mail gateway": OUTLOOK,
}


PAGE = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def send(method, url, fields=None, **headers):
    """A request without a browser; returns the answer's text, whatever its status."""
    data = None if fields is None else (fields if isinstance(fields, str) else urlencode(fields)).encode()
    named = {"User-Agent": OUTLOOK, "Accept": PAGE} | {
        name.replace("_", "-"): text for name, text in headers.items()
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, named, method=method)) as answer:
            return answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


class Form(HTMLParser):
    """The fields of a page's forms, as a program without a browser finds them."""

    def __init__(self, page):
        super().__init__()
        self.inputs = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        if tag == "input":
            self.inputs.append(dict(attributes))


def get(link):
    """A scanner that follows the link."""
    send("GET", link)


def head(link):
    """A checker of links that asks for the head alone."""
    send("HEAD", link)


def options(link):
    """A scanner that asks which methods there are."""
    send("OPTIONS", link)


def get_of_anything(link):
    """A previewer that takes any format."""
    send("GET", link, Accept="*/*")


def get_a_part(link):
    """A previewer that takes the first kilobytes."""
    send("GET", link, Accept="*/*", Range="bytes=0-65535")


def prefetch(link):
    """A browser that fetches a link before anybody clicks on it."""
    send("GET", link, Sec_Purpose="prefetch", Purpose="prefetch")


def prerender(link):
    """A browser that renders a link before anybody clicks on it."""
    send("GET", link, Sec_Purpose="prefetch;prerender")


def pairs(link):
    """A gateway that asks for the head and then for the page, twice at once, from two machines."""
    for _ in range(2):
        send("HEAD", link, User_Agent="Mozilla/5.0 (compatible; URLScanner)")
        send("GET", link)


def get_and_post_nothing(link):
    """A scanner that posts to each address that it finds."""
    send("GET", link)
    send("POST", link, "")


def submit_the_form(link):
    """A scanner that parses the page and submits its form as it stands."""
    fields = {
        field["name"]: field.get("value", "") for field in Form(send("GET", link)).inputs if is_sent(field)
    }
    send("POST", link, fields)


def is_sent(field):
    return "name" in field and (field.get("type") not in ("radio", "checkbox") or "checked" in field)


def submit_the_form_filled_in(link):
    """The same, with a word in every field for text."""
    send("GET", link)
    send("POST", link, {"passphrase": "test"})


def submit_the_first_choices(link):
    """A scanner that answers each question with the first choice."""
    fields = {}
    for field in Form(send("GET", link)).inputs:
        fields.setdefault(field.get("name", ""), field.get("value", "test"))
    fields.pop("", None)
    send("POST", link, fields)


def submit_every_field(link):
    """A scanner that sends every field with its value."""
    send(
        "POST", link, [(f["name"], f.get("value", "")) for f in Form(send("GET", link)).inputs if "name" in f]
    )


def post_json(link):
    """A scanner of interfaces that posts an empty object and asks for a page."""
    send("POST", link, "{}", Content_Type="application/json")


def follow_every_link(link):
    """A crawler that follows all links of the page."""
    for path in re.findall(r'(?:href|src)="([/?][^"]*)"', send("GET", link)):
        send("GET", urljoin(link, unescape(path)))


def post_to_every_action(link):
    """A scanner that posts to the usual addresses below the link."""
    for act in ("", "/", "/reveal", "/destroy", "/confirm", "/view"):
        send("POST", link.rsplit("/", 1)[0] + act, "")


WITHOUT_A_BROWSER = [
    get, head, options, get_of_anything, get_a_part, prefetch, prerender, pairs, get_and_post_nothing, submit_the_form,
    submit_the_form_filled_in, submit_the_first_choices, submit_every_field, post_json, follow_every_link,
    post_to_every_action,
]  # fmt: skip


@pytest.mark.parametrize("behaviour", WITHOUT_A_BROWSER, ids=lambda behaviour: behaviour.__name__)
def test_a_scanner_without_a_browser_opens_nothing(url, behaviour):
    """Whatever it asks for or submits, the message is unread afterwards."""
    link = leave(url, "read me once")
    behaviour(link)
    assert is_unread(link)


@pytest.mark.parametrize("agent", PREVIEWS.values(), ids=PREVIEWS)
def test_a_preview_opens_nothing(url, agent):
    """A chat program or a search engine that fetches the link, as it calls itself."""
    link = leave(url, "read me once")
    for accept in (PAGE, "*/*", ""):
        assert "read me once" not in send("GET", link, User_Agent=agent, Accept=accept)
    assert is_unread(link)
