"""Takes the screenshots in docs/screens, of each page in light and dark: `make screens`. Not a test."""

import base64
from pathlib import Path

import pytest

from server.languages import LANGUAGES
from tests.browser import test_accessibility as states

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "screens"
MESSAGE = "The spare key is under the flower pot.\n\nAlarm code: 4711-0815 \U0001f511\n\nSee you on Sunday!"


def form(visitor):
    states.form(visitor)
    visitor.page.fill("#message", MESSAGE)


def share(visitor):
    visitor.write(MESSAGE, "sesame", "86400")


def confirm(visitor):
    share(visitor)
    visitor.open(visitor.page.input_value("#link"))
    visitor.page.wait_for_selector("[data-send]:enabled")


def revealed(visitor):
    confirm(visitor)
    visitor.reveal("sesame")


PAGES = [
    form, share, confirm, revealed,
    states.receipt, states.confirm_cut_off, states.gone, states.ended, states.destroyed,
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", PAGES, ids=lambda state: state.__name__)
def test_screens(visit, state, scheme):
    """A screenshot of each page, as wide as the window of a small laptop."""
    visitor = visit(viewport={"width": 900, "height": 700}, color_scheme=scheme)
    state(visitor)
    if state is share:  # a link as on a real server, not a test's
        fields = {
            "link": "https://notes.example.org/Ab3_x#8aspm4G7VmSUfOoD6V1vrOXo",
            "receipt": f"https://notes.example.org/Ab3_x/receipt#{'MmUPb0r06_JkOcZ0LwQCT6c6EYo-vJc3wdCkwgPgr6A' * 2}",
        }
        visitor.page.evaluate(
            "(fields) => { for (const id in fields) document.getElementById(id).value = fields[id]; }", fields
        )
    visitor.page.screenshot(path=FOLDER / f"{state.__name__}-{scheme}.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_screens_of_a_phone(visit, scheme):
    """The form and the confirm page on a small phone."""
    visitor = visit(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    for state in (form, confirm):
        state(visitor)
        visitor.page.screenshot(path=FOLDER / f"{state.__name__}-phone-{scheme}.png", full_page=True)


IN_WEBP = """async (png) => {
    const image = new Image();
    image.src = `data:image/png;base64,${png}`;
    await image.decode();
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: image.width, height: image.height });
    canvas.getContext("2d").drawImage(image, 0, 0);
    return canvas.toDataURL("image/webp", 0.4).split(",")[1];
}"""


# The middle of a wide window is enough. A picture in WebP has at most 16,383 pixels each way.
@pytest.mark.parametrize("width, height, middle", [(320, 640, 320), (1366, 657, 800)])
def test_contact_sheet_of_the_languages(visit, width, height, middle):
    """The pages in each language on one picture: what is too wide or cut off can be seen at a glance."""
    rows = []
    for tag in LANGUAGES:
        visitor = visit(viewport={"width": width, "height": height}, locale=tag)
        page, pictures = visitor.page, []
        for show in (form, share, confirm, revealed, states.receipt, states.ended, states.gone):
            show(visitor)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (tag, show.__name__)
            whole = page.evaluate("document.documentElement.scrollHeight")
            clip = {"x": (width - middle) / 2, "y": 0, "width": middle, "height": whole}
            picture = base64.b64encode(page.screenshot(clip=clip, full_page=True)).decode()
            pictures.append(f'<img src="data:image/png;base64,{picture}">')
        visitor.context.close()
        rows.append(f"<tr><th>{tag}<td>{'<td>'.join(pictures)}")
    style = "img { width: 150px } td, th { vertical-align: top; padding: 4px; font: 14px sans-serif }"
    sheet = visit(viewport={"width": 1400, "height": 900}).page
    sheet.set_content(f"<style>{style}</style><table>{''.join(rows)}</table>")
    png = base64.b64encode(sheet.screenshot(full_page=True)).decode()
    (FOLDER / f"languages-{width}.webp").write_bytes(base64.b64decode(sheet.evaluate(IN_WEBP, png)))
