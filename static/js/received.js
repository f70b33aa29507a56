// The files of a message that was opened here: saves each one to the disk as it arrives, and shows images, texts and
// PDFs, which can do nothing. When all are saved, the server deletes its chunks.

const LARGEST_PREVIEW = 20_000_000; // bytes
// No SVG: it is a document, but an image has no script and asks for nothing.
const IMAGES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"];
const PDF = "application/pdf";
const TEXTS = /^(text\/|application\/(json|xml|x-pem-file|pgp-keys)$)/;
const LARGEST_TEXT = 1_000_000; // bytes
const LONGEST_START = 30_000; // milliseconds until the scripts of a frame answer
const BLOB_BYTES = 2 ** 21;

/**
 * Opens a note with files: shows the files, and returns the message.
 * `tools` are the exports of seal.js, files.js and progress.js.
 */
export async function receive(section, tools, keys, sealed, key, reader) {
  tools.useSealing(tools);
  const { message, files } = await tools.openNote(keys, sealed);
  const delivery = { key, reader, files, fileKey: await tools.fileKeyOf(keys, sealed) };
  const unsaved = new Set(files.keys());
  const list = section.querySelector("ul");
  const problem = section.querySelector("[role=alert]");
  for (const index of files.keys()) list.append(rowOf(section, tools, delivery, index, unsaved, problem));
  section.hidden = false;
  if (!message) hideText(section);
  addEventListener("beforeunload", (event) => { if (unsaved.size && section.isConnected) event.preventDefault(); });
  return message;
}

// For a message that has only files.
function hideText(section) {
  section.parentElement.querySelector("[data-secret]").hidden = true;
  section.parentElement.querySelector(".actions").hidden = true;
}

function rowOf(section, tools, delivery, index, unsaved, problem) {
  const { Refusal, SealingError, bytesOf, inBytes, progressOf, safeName } = tools;
  const { name, type, size } = delivery.files[index];
  const row = section.querySelector("template").content.cloneNode(true).firstElementChild;
  const part = (what) => row.querySelector(`[data-${what}]`);
  const shown = safeName(name);
  part("name").textContent = shown;
  part("size").textContent = inBytes(size);
  for (const button of row.querySelectorAll("[aria-label*='{name}']")) {
    button.setAttribute("aria-label", button.getAttribute("aria-label").replace("{name}", () => shown));
  }
  const canLook = size <= (TEXTS.test(type) ? LARGEST_TEXT : LARGEST_PREVIEW)
    && (TEXTS.test(type) || IMAGES.includes(type) || type === PDF);
  part("look").hidden = !canLook;

  async function fetched(write) {
    const stop = new AbortController();
    const progress = progressOf(part("progress"), () => stop.abort());
    let done = 0;
    problem.replaceChildren();
    try {
      progress.show(0, size);
      for await (const piece of bytesOf(delivery, index, { signal: stop.signal, onLost: progress.lost })) {
        await write(piece);
        done += piece.length;
        progress.show(done, size);
      }
      return true;
    } catch (error) {
      if (error instanceof SealingError) problem.textContent = problem.dataset.damaged;
      else if (error instanceof Refusal) problem.textContent = problem.dataset.over;
      else if (!stop.signal.aborted) problem.textContent = problem.dataset.unsaved;
      return false;
    } finally {
      progress.hide();
    }
  }

  part("save").addEventListener("click", async ({ currentTarget: button }) => {
    button.disabled = true;
    const saved = await save(shown, fetched).catch(() => {
      problem.textContent = problem.dataset.unsaved;
      return false;
    });
    button.disabled = false;
    if (!saved) return;
    part("saved").hidden = false;
    document.getElementById("status").textContent = part("saved").textContent;
    unsaved.delete(index);
    if (!unsaved.size) acknowledge(tools, delivery);
  });

  part("look").addEventListener("click", async () => {
    const pieces = [];
    if (!await fetched((piece) => pieces.push(new Blob([piece])))) return;
    const content = new Blob(pieces, { type });
    if (type === PDF) return showPdf(content);
    part("preview").replaceChildren(await preview(content, shown));
    part("preview").hidden = false;
  });

  async function showPdf(content) {
    const place = part("preview");
    const { page } = section.querySelector("[data-page]").dataset;
    const frame = tools.pdfFrame.content.cloneNode(true).firstElementChild;
    frame.title = shown;
    // Not in the style sheet, which everybody loads: few look at a PDF.
    Object.assign(frame.style, { display: "block", height: "min(75vh, 40rem)", border: 0 });
    place.style.maxHeight = "none"; // the frame scrolls
    const drawn = drawPdf(frame, await content.arrayBuffer(), page);
    place.replaceChildren(frame);
    place.hidden = false;
    const pages = await drawn;
    if (!frame.isConnected) return;
    if (pages) {
      document.getElementById("status").textContent = page.replace("{page}", 1).replace("{pages}", pages);
    } else {
      place.replaceChildren();
      place.hidden = true;
      problem.textContent = problem.dataset.notShown;
    }
  }
  return row;
}

// To the disk as it arrives if the browser can, otherwise into a Blob, which browsers keep outside the page.
async function save(name, fetched) {
  if (globalThis.showSaveFilePicker) {
    const file = await showSaveFilePicker({ suggestedName: name }).catch((error) => {
      if (error.name === "AbortError") return null; // the reader changed their mind
      throw error;
    });
    if (!file) return false;
    const disk = await file.createWritable();
    if (await fetched((piece) => disk.write(piece))) return disk.close().then(() => true);
    await disk.abort();
    return false;
  }
  const blobs = [];
  const part = new Uint8Array(BLOB_BYTES);
  let filled = 0;
  // Small Blobs stay in the page. Firefox writes the Blob of a Response to a temporary file.
  const handOver = async () => {
    blobs.push(await new Response(part.subarray(0, filled)).blob());
    filled = 0;
  };
  const keep = async (piece) => {
    if (filled + piece.length > part.length) await handOver();
    part.set(piece, filled);
    filled += piece.length;
  };
  if (!await fetched(keep)) return false;
  await handOver();
  const link = document.createElement("a");
  link.download = name;
  link.href = URL.createObjectURL(new Blob(blobs, { type: "application/octet-stream" }));
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  return true;
}

// An image as an <img>, which runs no script and loads nothing; a text as text.
async function preview(blob, name) {
  if (TEXTS.test(blob.type)) {
    const text = document.createElement("pre");
    text.textContent = await blob.text();
    text.tabIndex = 0;
    return text;
  }
  const image = document.createElement("img");
  image.alt = name;
  image.src = URL.createObjectURL(blob);
  image.addEventListener("load", () => URL.revokeObjectURL(image.src));
  return image;
}

// Has a PDF drawn in a frame that can neither read this page nor send anything. Returns how many pages it has, or
// nothing if it cannot be shown.
function drawPdf(frame, content, label) {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    frame.addEventListener("load", () => {
      const broken = setTimeout(resolve, LONGEST_START);
      port1.onmessage = ({ data: { pages, failed } }) => {
        clearTimeout(broken);
        if (pages || failed) resolve(Number(pages));
      };
      // Only this frame gets it: no policy of this page lets it go to another address.
      frame.contentWindow.postMessage({ content, name: frame.title, label }, "*", [content, port2]);
    }, { once: true });
  });
}

function acknowledge({ answerOf }, { key, reader }) {
  const body = new URLSearchParams({ reader, files: true });
  answerOf(`/${key}/received`, { method: "POST", body, keepalive: true }).catch(() => {}); // it ends by itself
}
