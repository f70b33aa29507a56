// A button that draws the link named by data-draws as a QR code. The first click loads the library.

const SVG = "http://www.w3.org/2000/svg";
const QUIET_ZONE = 4; // modules, ISO/IEC 18004

export default function qr(button) {
  const link = document.getElementById(button.dataset.draws);
  const box = document.getElementById(button.getAttribute("aria-controls"));

  button.addEventListener("click", async () => {
    if (!box.hasChildNodes()) {
      const library = await import(button.dataset.qr).catch(() => null);
      if (!library) {
        document.querySelector("[data-if-broken]").hidden = false;
        return;
      }
      const svg = drawn(library.generate(link.value));
      svg.setAttribute("aria-label", button.dataset.label);
      box.replaceChildren(svg);
      link.dataset.copied = "";
    }
    box.hidden = !box.hidden;
    button.setAttribute("aria-expanded", String(!box.hidden));
  });
}

function drawn(code) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  const side = code.size + 2 * QUIET_ZONE;
  let squares = "";
  for (let y = 0; y < code.size; y++) {
    for (let x = 0; x < code.size; x++) if (code.get(x, y)) squares += `M${x} ${y}h1v1h-1z`;
  }
  path.setAttribute("d", squares);
  svg.setAttribute("viewBox", `${-QUIET_ZONE} ${-QUIET_ZONE} ${side} ${side}`);
  svg.setAttribute("shape-rendering", "crispEdges");
  svg.setAttribute("role", "img");
  svg.append(path);
  return svg;
}
