"""The operator's name on the pages: a title, a logo and colours, checked for contrast when the server starts."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

TEXT_CONTRAST = 4.5  # WCAG 2.2, success criterion 1.4.3
BORDER_CONTRAST = 3.0  # and 1.4.11

MAX_LOGO_BYTES = 64 << 10

# The focus ring and errors, on a light and on a dark background.
FOCUS = ("#1f5f99", "#8fc1f2")
ERROR = ("#b3150f", "#ff9d8f")


@dataclasses.dataclass(frozen=True)
class Palette:
    """Three colours, each `#rrggbb`, from which a style sheet takes all others."""

    accent: str
    background: str
    text: str

    def variables(self) -> dict[str, str]:
        """The variables of static/css/note-whisperer.css that differ with these colours."""
        light = contrast(self.background, "#000000") > contrast(self.background, "#ffffff")
        desk, paper = self.background, mix(self.background, "#ffffff", 0.7 if light else 0.05)
        fold = mix(paper, self.text, 0.06)
        surfaces = (desk, paper, fold)
        on_wax = max("#ffffff", "#111111", key=lambda colour: contrast(colour, self.accent))
        hovered = mix(self.accent, "#000000" if on_wax == "#ffffff" else "#ffffff", 0.15)
        return {
            "--desk": desk,
            "--paper": paper,
            "--fold": fold,
            "--ink": self.text,
            "--faint": _weakest(self.text, surfaces, TEXT_CONTRAST),
            "--whisper": _weakest(self.text, surfaces, TEXT_CONTRAST),
            "--line": mix(paper, self.text, 0.15),
            "--edge": _weakest(self.text, surfaces, BORDER_CONTRAST),
            "--wax": self.accent,
            "--wax-deep": hovered,
            "--on-wax": on_wax,
            "--accent": self.accent,
            "--error": max(ERROR, key=lambda colour: contrast(colour, paper)),
            "--focus": max(FOCUS, key=lambda colour: contrast(colour, paper)),
        }


@dataclasses.dataclass(frozen=True)
class Logo:
    """An image that is shown beside the title, and as the icon of the page."""

    content: bytes
    media_type: str


def palette(text: str) -> Palette:
    """The colours of a setting such as "#9e2f2c,#f3ece0,#2c2521". Raises a ValueError that says what is wrong."""
    colours = [part.strip().lower() for part in text.split(",")]
    if len(colours) != 3 or not all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours):
        raise ValueError("takes three colours as #rrggbb, separated by commas: accent, background, text")
    chosen = Palette(*colours)
    variables = chosen.variables()
    for what, name, minimum in (
        ("text", "--ink", TEXT_CONTRAST),
        ("accent", "--accent", TEXT_CONTRAST),
        ("error colour", "--error", TEXT_CONTRAST),
        ("focus ring", "--focus", BORDER_CONTRAST),
    ):
        lowest = min(
            contrast(variables[name], variables[behind]) for behind in ("--desk", "--paper", "--fold")
        )
        if lowest < minimum:
            raise ValueError(
                f"the {what} {variables[name]} has a contrast of {lowest:.1f} with the background"
                f" {chosen.background} or its shades, and needs {minimum:.1f} (WCAG 2.2)"
            )
    return chosen


def logo(path: str) -> Logo:
    """The image in a file. Raises ValueError or OSError."""
    content = Path(path).read_bytes()
    if len(content) > MAX_LOGO_BYTES:
        raise ValueError(f"takes a file of at most {MAX_LOGO_BYTES >> 10} KiB")
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return Logo(content, "image/png")
    if re.match(rb"\s*(<\?xml[^>]*>|<!--.*?-->|\s)*<svg\b", content, re.DOTALL):
        return Logo(content, "image/svg+xml")
    raise ValueError("takes a PNG or SVG file")


def style_sheet(light: Palette | None, dark: Palette | None) -> str:
    """The style sheet that comes after the service's own. A scheme without a palette stays as it is."""
    schemes = (("not (prefers-color-scheme: dark)", light), ("(prefers-color-scheme: dark)", dark))
    return "".join(
        f"@media {scheme} {{\n  :root {{\n"
        + "".join(f"    {name}: {colour};\n" for name, colour in palette.variables().items())
        + "  }\n}\n"
        for scheme, palette in schemes
        if palette is not None
    )


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, from 1 to 21, as WCAG 2.2 defines it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def mix(one: str, other: str, share: float) -> str:
    """A colour with this share, from 0 to 1, of the other."""
    channels = zip(_channels(one), _channels(other))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in channels)


def _weakest(text: str, surfaces: tuple[str, ...], minimum: float) -> str:
    """The text's colour, faded towards the surfaces as far as its contrast with each stays high enough."""
    for percent in range(60, 0, -2):
        faded = mix(text, surfaces[0], percent / 100)
        if all(contrast(faded, surface) >= minimum for surface in surfaces):
            return faded
    return text


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(colour: str) -> float:
    linear = [
        channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
        for channel in (channel / 255 for channel in _channels(colour))
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
