"""Links and receipts, as people paste them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import links
from client.failures import UsageError
from server import sealing

TOKEN = sealing.new_token()
KEYS = sealing.derive_keys(TOKEN)


@pytest.mark.parametrize("separator", ["#", "/", "%23"])
@pytest.mark.parametrize("end", ["", ".", ")", "?utm=1", "\n"])
def test_every_form_of_a_link(separator, end):
    """The key, the token and the service's origin."""
    found = links.link(f"https://Notes.Example.org:443/aB_-9{separator}{TOKEN}{end}")

    assert found == links.Link("https://notes.example.org", "aB_-9", TOKEN)
    assert str(found) == f"https://notes.example.org/aB_-9#{TOKEN}"


@pytest.mark.parametrize("separator", ["#", "%23"])
def test_a_receipt(separator):
    """Its proof, and what a mark is compared with."""
    found = links.link_or_receipt(f"https://notes.example.org/aB_-9/receipt{separator}{KEYS.receipt}.")

    assert found == links.Receipt(
        "https://notes.example.org", "aB_-9", KEYS.link_proof, sealing.verifier_of(KEYS.mark)
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "notes.example.org/aB_-9",
        "ftp://notes.example.org/aB_-9#x",
        f"https://notes.example.org/aB_-#{TOKEN}",
        f"https://notes.example.org/aB_-99#{TOKEN}",
        f"https://notes.example.org/folder/aB_-9#{TOKEN}",
        f"https://name:word@notes.example.org/aB_-9#{TOKEN}",
        f"https:///aB_-9#{TOKEN}",
        f"https://notes.example.org:99999/aB_-9#{TOKEN}",
        f"https://notes.example.org/aB_-9\n#{TOKEN}",
    ],
)
def test_what_is_no_link(text):
    """Each is refused, and none is repeated."""
    with pytest.raises(UsageError) as error:
        links.link(text)

    assert TOKEN not in error.value.detail and "word" not in error.value.detail


@pytest.mark.parametrize("length", [0, 1, 23])
def test_a_cut_link_says_so(length):
    """Its check characters do not fit."""
    with pytest.raises(UsageError, match="cut off"):
        links.link(f"https://notes.example.org/aB_-9#{TOKEN[:length]}")


@pytest.mark.parametrize(
    "text",
    ["https://h/aB_-9/receipt", "https://h/aB_-9/receipt#", f"https://h/aB_-9/receipt#{KEYS.receipt[:-1]}"],
)
def test_a_cut_receipt_says_so(text):
    """It is too short."""
    with pytest.raises(UsageError, match="receipt was cut off"):
        links.receipt(text)


@given(st.text())
def test_any_other_text_is_refused(text):
    """Whatever is pasted, the answer is a link, a receipt or a UsageError."""
    try:
        links.link_or_receipt(f" {text}")
    except UsageError:
        pass


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://notes.example.org/", "https://notes.example.org"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://[::1]:443", "https://[::1]"),
        ("https://notizen.bücher.example", "https://notizen.xn--bcher-kva.example"),
    ],
)
def test_origins(text, origin):
    """As a browser writes them."""
    assert links.origin_of(text) == origin
