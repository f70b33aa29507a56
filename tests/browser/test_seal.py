"""static/js/seal.js: the sealed format in the browser, held to the same vectors as server/sealing.py."""

import json
from pathlib import Path

import pytest

from server.pages import asset
from server.sealing import WHITE_SPACE

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sealing-v2.json").read_text("utf-8"))

REPRODUCE = """async ([url, vector]) => {
    const sealing = await import(url);
    const token = await sealing.tokenOf(vector.secret);
    const {sealKey, fileRoot, ...keys} = await sealing.deriveKeys(token, vector.passphrase ?? "");
    return {
        ...keys,
        token,
        proofOfLinkAlone: await sealing.linkProofOf(token),
        sealed: await sealing.seal({sealKey}, vector.message, sealing.fromText(vector.nonce)),
        opened: await sealing.openSealed({sealKey}, vector.sealed),
    };
}"""


def _expected(vector):
    return {
        "token": vector["token"],
        "linkProof": vector["link_proof"],
        "proofOfLinkAlone": vector["link_proof"],
        "linkVerifier": vector["link_verifier"],
        "revealProof": vector["reveal_proof"],
        "revealVerifier": vector["reveal_verifier"],
        "mark": vector["mark"],
        "receipt": vector["receipt"],
        "sealed": vector["sealed"],
        "opened": vector["message"],
    }


@pytest.fixture
def sealing(visitor):
    """A page and the URL of seal.js there."""
    return visitor.open("/"), visitor.url + asset("js/seal.js")


def test_the_browser_reproduces_every_vector(sealing):
    """Token, proofs, verifiers, mark, receipt and sealed bytes are the vectors', and each opens to its message."""
    page, url = sealing
    made = [page.evaluate(REPRODUCE, [url, vector]) for vector in VECTORS]
    assert made == [_expected(vector) for vector in VECTORS]


def test_the_browser_strips_the_same_white_space_as_the_server(sealing):
    """Of all characters, both remove the same ones from the ends of a passphrase, and none from within."""
    page, url = sealing
    stripped = page.evaluate(
        """async (url) => {
            const { stripPassphrase } = await import(url);
            const all = Array.from({ length: 0x110000 }, (_, n) => String.fromCodePoint(n));
            return all.filter((c) => stripPassphrase(c + c + "a" + c + "b" + c) === "a" + c + "b").join("");
        }""",
        url,
    )
    assert stripped == "".join(sorted(WHITE_SPACE))


def test_a_passphrase_of_white_space_is_none(sealing):
    """The keys are those of the token alone."""
    page, url = sealing
    assert page.evaluate(REPRODUCE, [url, VECTORS[0] | {"passphrase": " \t\u2003"}]) == _expected(VECTORS[0])


def test_another_token_does_not_open(sealing):
    """Neither another token nor the right one with a wrong passphrase opens it."""
    page, url = sealing
    others = [[VECTORS[1]["token"], ""], [VECTORS[0]["token"], "wrong"]]
    failures = page.evaluate(
        """async ([url, sealed, others]) => {
            const sealing = await import(url);
            return Promise.all(others.map(async ([token, passphrase]) => {
                const keys = await sealing.deriveKeys(token, passphrase);
                return sealing.openSealed(keys, sealed).then(String, (error) => error.constructor.name);
            }));
        }""",
        [url, VECTORS[0]["sealed"], others],
    )
    assert failures == ["SealingError", "SealingError"]


def test_a_mangled_token_is_distinguished_from_a_whole_one(sealing):
    """A token with a letter missing, too many, changed or foreign is not whole."""
    page, url = sealing
    token = VECTORS[0]["token"]
    mangled = [token[:-1], token + "a", token[::-1], "-" + token[1:], "", token[:5] + "0" + token[6:]]
    is_token = "async ([url, token]) => (await import(url)).isToken(token)"
    assert page.evaluate(is_token, [url, token]) is True
    assert [page.evaluate(is_token, [url, text]) for text in mangled] == [False] * len(mangled)


def test_secrets_are_drawn_from_the_whole_alphabet(sealing):
    """Two thousand secrets have 22 characters each, all 62 about equally often, and none twice."""
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
    """One changed byte, in the version, the nonce or the text, gives an error that tells nothing."""
    page, url = sealing
    failure = page.evaluate(
        """async ([url, vector, place]) => {
            const sealing = await import(url);
            const bytes = sealing.fromText(vector.sealed);
            bytes[place < 0 ? bytes.length + place : place] ^= 1;
            const keys = await sealing.deriveKeys(vector.token);
            return sealing.openSealed(keys, sealing.toText(bytes)).then(String, (error) => error.constructor.name);
        }""",
        [url, VECTORS[0], place],
    )
    assert failure == "SealingError"


def test_a_byte_order_mark_is_part_of_the_message(sealing):
    """Decoders may drop it, but a message that begins with one keeps it."""
    page, url = sealing
    opened = page.evaluate(
        """async ([url, token, message]) => {
            const sealing = await import(url);
            const keys = await sealing.deriveKeys(token);
            return sealing.openSealed(keys, await sealing.seal(keys, message));
        }""",
        [url, VECTORS[0]["token"], "\ufeffhello"],
    )
    assert opened == "\ufeffhello"
