"""The operator's colours are checked for contrast, and all others follow from three."""

import re

import pytest

from server import branding
from server.pages import STATIC, THEME_COLORS
from server.settings import Settings, SettingsError

CSS = (STATIC / "css" / "note-whisperer.css").read_text()

OURS, BLUE, NIGHT = "#9e2f2c,#f3ece0,#2c2521", "#0b5394,#ffffff,#111111", "#9ecbff,#0d1117,#e6edf3"


def own_colours(scheme):
    """The variables of the service's own style sheet in a scheme."""
    blocks = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    variables = dict(re.findall(r"(--[\w-]+): (#\w{6});", blocks[0]))
    return variables | (dict(re.findall(r"(--[\w-]+): (#\w{6});", blocks[1])) if scheme == "dark" else {})


PALETTES = {
    "our own, light": own_colours("light"),
    "our own, dark": own_colours("dark"),
    **{text: branding.palette(text).variables() for text in (OURS, BLUE, NIGHT)},
}


@pytest.mark.parametrize(
    "name, least",
    {
        "--ink": 4.5, "--faint": 4.5, "--whisper": 4.5, "--accent": 4.5, "--error": 4.5, "--edge": 3, "--focus": 3,
    }.items(),
)  # fmt: skip
@pytest.mark.parametrize("variables", PALETTES.values(), ids=PALETTES)
def test_what_is_read_stands_out(variables, name, least):
    """Texts, hints and errors have a contrast of 4.5 with everything behind them; borders and the focus have 3."""
    for behind in ("--desk", "--paper", "--fold"):
        assert branding.contrast(variables[name], variables[behind]) >= least


@pytest.mark.parametrize("variables", PALETTES.values(), ids=PALETTES)
def test_the_label_of_a_button_stands_out(variables):
    """Also under the mouse."""
    for behind in ("--wax", "--wax-deep"):
        assert branding.contrast(variables["--on-wax"], variables[behind]) >= 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_focus_has_not_the_colour_of_errors(scheme):
    """What has the focus does not look like a mistake."""
    colours = own_colours(scheme)

    assert colours["--focus"] not in (colours["--error"], colours["--wax"], colours["--accent"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_wax_is_red_in_both_schemes(scheme):
    """Wax is a deep red: far more red than green and blue, and neither pink nor orange."""
    red, green, blue = (int(own_colours(scheme)["--wax"][n : n + 2], 16) for n in (1, 3, 5))

    assert red > 2.5 * max(green, blue)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_browser_s_bars_have_the_colour_of_the_page(scheme):
    """theme-color is the style sheet's background."""
    assert THEME_COLORS[scheme] == own_colours(scheme)["--desk"]


def test_contrast_is_as_wcag_defines_it():
    """Black on white is 21; #767676 is the lightest grey with 4.5 on white."""
    assert branding.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert branding.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)
    assert branding.contrast("#ffffff", "#777777") < 4.5


@pytest.mark.parametrize(
    "text, complaint",
    {
        "#ffcc00,#ffffff,#222222": "accent #ffcc00 has a contrast of 1.* with the background #ffffff",
        "#9e2f2c,#ffffff,#aaaaaa": "text #aaaaaa has a contrast of 2.*needs 4.5",
        "#000000,#808080,#000000": "accent|error colour",
        "#fff,#000,#111": "takes three colours",
        "red,white,black": "takes three colours",
        "#9e2f2c,#f3ece0": "takes three colours",
        "#9e2f2c,#f3ece0,#2c2521;}": "takes three colours",
    }.items(),
)
def test_colours_that_cannot_be_read_stop_the_start(text, complaint):
    """The error names the variable, the colour, its contrast and what it needs."""
    for variable in ("BRAND_COLORS", "BRAND_COLORS_DARK"):
        with pytest.raises(SettingsError, match=f"{variable}: .*({complaint})"):
            Settings.from_env({variable: text})


def test_a_scheme_without_colours_stays_as_it_is():
    """The style sheet changes the scheme that is set, and no other."""
    light = branding.style_sheet(branding.palette(BLUE), None)
    both = branding.style_sheet(branding.palette(BLUE), branding.palette(NIGHT))

    assert re.findall(r"@media (.*) \{", light) == ["not (prefers-color-scheme: dark)"]
    assert re.findall(r"@media (.*) \{", both) == [
        "not (prefers-color-scheme: dark)",
        "(prefers-color-scheme: dark)",
    ]


@pytest.mark.parametrize(
    "content, media_type",
    [
        (b"\x89PNG\r\n\x1a\n...", "image/png"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"<?xml version='1.0'?>\n<!-- a logo -->\n<svg/>", "image/svg+xml"),
    ],
)
def test_a_logo_is_a_png_or_svg(tmp_path, content, media_type):
    """By its content, whatever the file is called."""
    (tmp_path / "logo").write_bytes(content)

    settings = Settings.from_env({"BRAND_LOGO": str(tmp_path / "logo")})

    assert settings.brand_logo == branding.Logo(content, media_type)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"<html><svg/></html>", b"<svg>" + b" " * 65536])
def test_any_other_logo_stops_the_start(tmp_path, content):
    """A page, another format, or a file that is too large."""
    (tmp_path / "logo").write_bytes(content)

    with pytest.raises(SettingsError, match="BRAND_LOGO"):
        Settings.from_env({"BRAND_LOGO": str(tmp_path / "logo")})


@pytest.mark.parametrize("variable", ["BRAND_TITLE", "OPERATOR_NAME"])
@pytest.mark.parametrize("text", ["x" * 81, "two\nlines", "hidden \u202e order"])
def test_a_name_is_a_short_line(variable, text):
    """No line breaks, and nothing that changes the order of letters."""
    with pytest.raises(SettingsError, match=variable):
        Settings.from_env({variable: text})
