// A PDF in a sandboxed frame of its own (templates/_pdf_frame.html): draws the pages that are in sight, and makes
// their text selectable. Nothing of the PDF is executed, no link of it works, and the frame cannot send anything.

const MOST_PAGES = 2_000;
const MOST_PIXELS = 4_000_000; // of a page as it is drawn
const LONGEST_SIDE = 16_384; // in pixels, as browsers draw it
const MOST_PIXELS_OF_AN_IMAGE = 50_000_000;
const TALLEST_PAGE = 4_000; // CSS pixels

const { pdfjsLib, pdfjsWorker } = globalThis;
const section = document.querySelector("section");

// All that the frame needs is loaded. Before it gets the PDF, it gives up the right to load anything.
const policy = document.createElement("meta");
policy.httpEquiv = "Content-Security-Policy";
policy.content = "default-src 'none'";
document.head.append(policy);
delete globalThis.RTCPeerConnection; // no policy is for it
delete globalThis.webkitRTCPeerConnection;

addEventListener("message", ({ source, data: { content, name, label }, ports: [page] }) => {
  if (source !== parent) return;
  section.setAttribute("aria-label", name);
  page.postMessage({}); // the scripts are there
  show(new Uint8Array(content), label).then((pages) => page.postMessage({ pages }), () => page.postMessage({ failed: true }));
});

// Draws the first pages; returns how many pages there are.
async function show(content, label) {
  if (!pdfjsWorker) throw new Error("a script is missing");
  const pdf = await pdfjsLib.getDocument({
    data: content,
    useWasm: false, // it would need 'wasm-unsafe-eval'
    wasmUrl: new URL(".", document.scripts[0].src).href, // of the decoders in plain JavaScript
    disableWorkerRendering: true, // an opaque origin has no workers
    maxImageSize: MOST_PIXELS_OF_AN_IMAGE,
    verbosity: pdfjsLib.VerbosityLevel.ERRORS,
  }).promise;
  const pages = pdf.numPages;
  if (pages > MOST_PAGES) throw new RangeError("too many pages");
  const shape = shapeOf(await pdf.getPage(1));
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) (isIntersecting ? draw : clear)(target);
  }, { root: section, rootMargin: "100% 0px" });
  const drawings = new WeakMap(); // of each place of a page, what ends its drawing

  function draw(place) {
    const stop = new AbortController();
    drawings.set(place, stop);
    drawPage(pdf, Number(place.dataset.number), place, stop.signal).catch(() => {}); // an empty page
  }

  // Only pages in sight are in memory.
  function clear(place) {
    drawings.get(place)?.abort();
    for (const canvas of place.querySelectorAll("canvas")) canvas.width = canvas.height = 0;
    place.replaceChildren();
  }

  section.replaceChildren(...Array.from({ length: pages }, (_, index) => {
    const figure = document.createElement("figure");
    const place = document.createElement("div");
    const caption = document.createElement("figcaption");
    place.className = "page";
    place.dataset.number = index + 1;
    Object.assign(place.style, shape);
    caption.textContent = label.replace("{page}", index + 1).replace("{pages}", pages);
    figure.append(place, caption);
    observer.observe(place);
    return figure;
  }));
  return pages;
}

// As wide as the frame, but not taller than a limit, however the PDF names its size.
function shapeOf(page) {
  const { width, height } = page.getViewport({ scale: 1 });
  return { aspectRatio: `${width} / ${height}`, inlineSize: `${TALLEST_PAGE * width / height}px` };
}

async function drawPage(pdf, number, place, signal) {
  const page = await pdf.getPage(number);
  if (signal.aborted) return;
  Object.assign(place.style, shapeOf(page));
  const { width, height } = page.getViewport({ scale: 1 });
  const scale = Math.max(1, place.clientWidth) / width;
  const seen = page.getViewport({ scale });
  const sharpest = Math.min(Math.sqrt(MOST_PIXELS / (width * height)), LONGEST_SIDE / Math.max(width, height));
  const viewport = page.getViewport({ scale: Math.min(scale * devicePixelRatio, sharpest) });
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, viewport.width);
  canvas.height = Math.max(1, viewport.height);
  const text = document.createElement("div");
  text.className = "text";
  text.style.setProperty("--total-scale-factor", seen.scale * seen.userUnit);
  place.replaceChildren(canvas, text);
  const drawing = page.render({ canvas, viewport });
  signal.addEventListener("abort", () => {
    drawing.cancel();
    page.cleanup();
  });
  await drawing.promise;
  const layer = new pdfjsLib.TextLayer({ textContentSource: page.streamTextContent(), container: text, viewport: seen });
  signal.addEventListener("abort", () => layer.cancel());
  await layer.render();
}
