// Shows a text exactly. Characters that reverse what follows them are marked and have no effect on it, so that
// people read what they copy; the marks are not part of the text (server/pages.py does the same).

const REVERSING = /([\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])/;

export function showText(box, text) {
  const parts = text.split(REVERSING); // every second part is such a character
  box.replaceChildren(...parts.map((part, at) => (at % 2 ? marked(part) : part)));
}

function marked(character) {
  const mark = document.createElement("bdi");
  mark.dataset.code = `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
  mark.textContent = character;
  return mark;
}
