"""static/js/seal.js: the sealed format in the browser, tested with the vectors of server/sealing.py."""

import json
from pathlib import Path

import pytest

from server.pages import asset

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sealing-v1.json").read_text("utf-8"))

REPRODUCE = """async ([url, vector]) => {
    const sealing = await import(url);
    const nonce = Uint8Array.from(vector.nonce.match(/../g), (two) => parseInt(two, 16));
    const token = await sealing.tokenOf(vector.secret);
    const lock = await sealing.lockOf(token, vector.passphrase);
    return {
        token,
        proof: lock.proof,
        verifier: lock.verifier,
        sealed: await sealing.seal(lock, vector.message, nonce),
        opened: await sealing.open(lock, vector.sealed),
    };
}"""


@pytest.fixture
def sealing(visitor):
    """A page, and the URL of seal.js on it."""
    return visitor.open("/"), visitor.url + asset("js/seal.js")


def test_the_browser_reproduces_every_vector(sealing):
    """Token, proof, verifier and sealed bytes equal those of the vectors, and each vector opens."""
    page, url = sealing
    made = [page.evaluate(REPRODUCE, [url, vector]) for vector in VECTORS]
    names = ("token", "proof", "verifier", "sealed")
    expected = [{name: vector[name] for name in names} | {"opened": vector["message"]} for vector in VECTORS]
    assert made == expected


def test_a_mangled_token_is_told_from_a_whole_one(sealing):
    """A token with a missing, extra, changed or invalid character is not complete."""
    page, url = sealing
    token = VECTORS[0]["token"]
    mangled = [token[:-1], token + "a", token[::-1], "-" + token[1:], "", token[:5] + "0" + token[6:]]
    is_token = "async ([url, token]) => (await import(url)).isToken(token)"
    assert page.evaluate(is_token, [url, token]) is True
    assert [page.evaluate(is_token, [url, text]) for text in mangled] == [False] * len(mangled)


def test_secrets_are_drawn_from_the_whole_alphabet(sealing):
    """Two thousand secrets are distinct, have 22 characters, and use all 62 about equally often."""
    page, url = sealing
    secrets = page.evaluate(
        "async (url) => { const {newSecret} = await import(url);"
        " return Array.from({length: 2000}, newSecret); }",
        url,
    )
    text = "".join(secrets)
    counts = [text.count(letter) for letter in set(text)]
    assert len(set(secrets)) == 2000
    assert {len(secret) for secret in secrets} == {22}
    assert len(counts) == 62
    assert 560 < min(counts) and max(counts) < 860  # 710 expected, five standard deviations either way


@pytest.mark.parametrize("place", [0, 1, 20, -1])
def test_sealed_bytes_that_were_changed_are_not_opened(sealing, place):
    """One changed byte in the version, the nonce or the text gives an error without details."""
    page, url = sealing
    failure = page.evaluate(
        """async ([url, vector, place]) => {
            const sealing = await import(url);
            const bytes = sealing.fromText(vector.sealed);
            bytes[place < 0 ? bytes.length + place : place] ^= 1;
            const lock = await sealing.lockOf(vector.token, vector.passphrase);
            return sealing.open(lock, sealing.toText(bytes)).then(String, (error) => error.constructor.name);
        }""",
        [url, VECTORS[0], place],
    )
    assert failure == "SealingError"


def test_a_byte_order_mark_is_part_of_the_message(sealing):
    """A message that begins with a byte order mark keeps it, although decoders drop it by default."""
    page, url = sealing
    opened = page.evaluate(
        """async ([url, token, message]) => {
            const sealing = await import(url);
            const lock = await sealing.lockOf(token, "");
            return sealing.open(lock, await sealing.seal(lock, message));
        }""",
        [url, VECTORS[0]["token"], "\ufeffhello"],
    )
    assert opened == "\ufeffhello"
