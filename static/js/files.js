// The sealed format of files (the same as server/sealed_files.py, held to the same vectors), and the requests
// that carry them: files to an upload, and a delivery back to files. At most a few MiB are in memory at a time.

// What this module uses of seal.js. An import here could not name that module's fingerprint.
let SealingError, fromText, fromUtf8, joined, openContent, sealContent, toText, utf8;

/** Takes the exports of seal.js, before anything else here is called. */
export function useSealing(sealing) {
  ({ SealingError, fromText, fromUtf8, joined, openContent, sealContent, toText, utf8 } = sealing);
}

const VERSION = Uint8Array.of(3);
const CHUNK = 65_536;
const TAG = 16;
const SEALED_CHUNK = CHUNK + TAG;
const SHORTEST_STREAM = 256;
const MAX_INDEX = 16_384;
export const MAX_FILES = 20;
const MAX_NAME = 255;
const MAX_TYPE = 127;
const LARGEST = 2 ** 40;

const CHUNKS_AT_ONCE = 16; // in one request or answer
const REQUESTS_AT_ONCE = 2;
const PAUSES = [500, 1_000, 2_000, 4_000, 8_000, 15_000]; // milliseconds after each request without an answer
const LONGEST_WAIT = 60; // seconds; for longer waits, such as a used-up hourly quota, the page shows the refusal
const STALLED = 70_000; // milliseconds; the server gives up on a request after a minute

/** A refusal of the server: repeating the request would not help. */
export class Refusal extends Error {
  constructor(answer, text) {
    const isJson = /json/.test(answer.headers.get("Content-Type"));
    super(isJson ? JSON.parse(text).detail : "");
    this.answer = new Response(text, answer);
  }
}

/** A message and the index of its files, sealed: as base64url. The nonce is given only to test against vectors. */
export async function sealNote(keys, message, files, nonce) {
  const index = utf8(JSON.stringify(files.map(({ name, type, size }) => ({ name, type, size }))));
  if (index.length > MAX_INDEX) throw new RangeError("the names of the files are too long together");
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, index.length);
  return sealContent(keys, joined(length, index, utf8(message)), VERSION, nonce);
}

/** Whether sealed bytes in base64url are a message with files. */
export const hasFiles = (sealed) => /^A[w-z0-9_-]/.test(sealed);

/** The message and its files from what `sealNote` made, or a SealingError. */
export async function openNote(keys, sealed) {
  return openContent(keys, sealed, VERSION, (content) => {
    const end = 4 + new DataView(content.buffer, content.byteOffset).getUint32(0);
    if (end > content.length || end > 4 + MAX_INDEX) throw new SealingError();
    const files = JSON.parse(fromUtf8(content.subarray(4, end)));
    if (!Array.isArray(files) || !files.length || files.length > MAX_FILES || !files.every(isLine)) {
      throw new SealingError();
    }
    return { message: fromUtf8(content.subarray(end)), files };
  });
}

function isLine(line) {
  return Object.keys(line).sort().join() === "name,size,type"
    && typeof line.name === "string" && utf8(line.name).length <= MAX_NAME
    && typeof line.type === "string" && utf8(line.type).length <= MAX_TYPE
    && Number.isInteger(line.size) && line.size >= 0 && line.size <= LARGEST;
}

/** The key of a note's files. */
export async function fileKeyOf({ fileRoot }, sealed) {
  const salt = await crypto.subtle.digest("SHA-256", fromText(sealed));
  const how = { name: "HKDF", hash: "SHA-256", salt, info: utf8("note-whisperer/2 files") };
  return crypto.subtle.deriveKey(how, fileRoot, { name: "AES-GCM", length: 256 }, false, ["encrypt", "decrypt"]);
}

/** Padmé: the next multiple of 2^(E - S), where E = floor(log2 length) and S is the number of bits of E. */
export function paddedLength(length) {
  const least = Math.max(length, SHORTEST_STREAM);
  let exponent = 0;
  while (2 ** (exponent + 1) <= least) exponent++;
  const unit = 2 ** (exponent - (32 - Math.clz32(exponent)));
  return Math.ceil(least / unit) * unit;
}

export const streamLength = (files) => paddedLength(files.reduce((sum, { size }) => sum + size, 0));
export const chunkCount = (streamBytes) => Math.ceil(streamBytes / CHUNK);

export async function sealChunk(key, number, last, plain) {
  return new Uint8Array(await crypto.subtle.encrypt({ name: "AES-GCM", iv: nonceOf(number, last) }, key, plain));
}

/** The plain bytes of a chunk, or a SealingError: it is not this chunk of this note. */
export async function openChunk(key, number, last, chunk) {
  try {
    return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv: nonceOf(number, last) }, key, chunk));
  } catch {
    throw new SealingError("a chunk was changed, moved or cut off");
  }
}

function nonceOf(number, last) {
  const nonce = new Uint8Array(12);
  new DataView(nonce.buffer).setBigUint64(3, BigInt(number));
  nonce[11] = Number(last);
  return nonce;
}

/**
 * Seals and uploads files, and seals the message with their index: what the note needs to be put, and `resume`,
 * which sends what the server has lost. `onProgress(done, all)` is called with bytes, `onLost()` after each request
 * without an answer.
 */
export async function upload(keys, message, files, { signal, onProgress = () => {}, onLost = () => {} }) {
  const index = files.map(({ name, type, size }) => ({
    name: fitting(name), type: utf8(type).length <= MAX_TYPE ? type : "", size,
  }));
  const sealed = await sealNote(keys, message, index);
  const key = await fileKeyOf(keys, sealed);
  const streamBytes = streamLength(index);
  const count = chunkCount(streamBytes);
  // The browser reads slices from the disk. If a file has changed since it was chosen, reading it fails.
  const stream = new Blob([...files, new Uint8Array(streamBytes - index.reduce((sum, { size }) => sum + size, 0))]);
  if (stream.size !== streamBytes) throw new SealingError("a file has changed");
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  const request = { method: "POST", signal };
  const body = new URLSearchParams({ upload: toText(nonce), file_bytes: streamBytes });
  const ask = () => answerOf("/upload", { ...request, body }, onLost);
  await ask();
  signal.addEventListener("abort", () => cancel(body));

  const tags = []; // of the chunks that were sealed
  let next, done;
  async function send(first) {
    next = first;
    done = first * CHUNK;
    onProgress(done, streamBytes);
    await Promise.all(Array.from({ length: REQUESTS_AT_ONCE }, work));
  }
  async function work() {
    while (next < count) {
      const first = next;
      next = Math.min(count, first + CHUNKS_AT_ONCE);
      const plain = await stream.slice(first * CHUNK, next * CHUNK).arrayBuffer();
      const chunks = [];
      for (let number = first; number * CHUNK < streamBytes && number < first + CHUNKS_AT_ONCE; number++) {
        const part = new Uint8Array(plain, (number - first) * CHUNK, Math.min(CHUNK, streamBytes - number * CHUNK));
        chunks.push(await sealChunk(key, number, number === count - 1, part));
        // Other bytes under the same nonce would reveal the key stream.
        const tag = toText(chunks.at(-1).subarray(-TAG));
        tags[number] ??= tag;
        if (tags[number] !== tag) throw new SealingError("a file has changed");
      }
      await put(first, chunks, plain.byteLength);
    }
  }
  // On a bad line, smaller requests get through. Each chunk is sealed once: a repeated request has the same bytes.
  let atOnce = CHUNKS_AT_ONCE;
  async function put(first, chunks, bytes) {
    for (let at = 0; at < chunks.length;) {
      const some = chunks.slice(at, at + atOnce);
      const number = new Uint8Array(4);
      new DataView(number.buffer).setUint32(0, first + at);
      const headers = { "Content-Type": "application/octet-stream" };
      const whole = new Blob([nonce, number, ...some]);
      const answer = await answerOf("/upload/chunks", { ...request, headers, body: whole }, () => {
        atOnce = Math.max(1, atOnce >> 1);
        onLost();
        return some.length > atOnce;
      });
      if (answer) at += some.length;
    }
    done += bytes;
    onProgress(done, streamBytes);
  }
  await send(0);
  const resume = async () => send((await (await ask()).json()).next);
  return { sealed, upload: toText(nonce), resume };
}

// A name short enough for the format. Its end stays, because it says what the file is.
function fitting(name) {
  let short = name.toWellFormed?.() ?? name;
  while (utf8(short).length > MAX_NAME) short = short.slice(1);
  return short.toWellFormed?.() ?? short;
}

// The server forgets the upload after an hour if this request gets lost.
function cancel(begun) {
  const body = new URLSearchParams({ upload: begun.get("upload") });
  fetch("/upload", { method: "DELETE", body, keepalive: true }).catch(() => {});
}

/**
 * The bytes of one file of a delivery, piece by piece, in order. The next piece takes the place of the one before.
 * A delivery is { key, reader, fileKey, files }.
 */
export async function* bytesOf({ key, reader, fileKey, files }, index, { signal, onLost = () => {} } = {}) {
  const streamBytes = streamLength(files);
  const count = chunkCount(streamBytes);
  const start = files.slice(0, index).reduce((sum, { size }) => sum + size, 0);
  const end = start + files[index].size;
  if (start === end) return;
  const fetchFrom = (first) => answerOf(`/${key}/chunks`, {
    method: "POST", signal, body: new URLSearchParams({ reader, first }),
  }, onLost, (_, body) => body);

  const last = Math.floor((end - 1) / CHUNK);
  let first = Math.floor(start / CHUNK);
  let coming = fetchFrom(first);
  while (first <= last) {
    const sealed = await coming;
    const got = Math.ceil(sealed.byteLength / SEALED_CHUNK);
    if (!got) throw new SealingError("the files are cut off");
    coming = first + got <= last ? fetchFrom(first + got) : null;
    coming?.catch(() => {});
    for (let n = 0; n < got && first + n <= last; n++) {
      const number = first + n;
      const length = Math.min(SEALED_CHUNK, sealed.byteLength - n * SEALED_CHUNK);
      const plain = await openChunk(fileKey, number, number === count - 1, new Uint8Array(sealed, n * SEALED_CHUNK, length));
      if (plain.length !== Math.min(CHUNK, streamBytes - number * CHUNK)) throw new SealingError("a chunk is too short");
      const from = number * CHUNK;
      yield plain.subarray(Math.max(0, start - from), Math.min(plain.length, end - from));
      release(plain.buffer);
    }
    release(sealed);
    first += got;
  }
}

// Gives the memory of a buffer back at once: it goes to a port that nobody has any more. The garbage of 100 MB is not
// collected while it arrives, and what `transfer` has emptied stays in Chromium.
const { port1: nowhere, port2: closed } = new MessageChannel();
closed.close();
const release = (buffer) => nowhere.postMessage(null, [buffer]);

/**
 * Repeats a request until this server answers it: all of these may be repeated. Throws a Refusal, or an AbortError.
 * `onLost()` is called after each try; if it returns true, the caller continues with smaller requests. `read` turns
 * an answer and its body into the result, without a second copy of the body.
 */
export async function answerOf(url, request, onLost = () => {}, read = (answer, body) => new Response(body, answer)) {
  for (let tries = 0; ; tries++) {
    let wait = PAUSES[Math.min(tries, PAUSES.length - 1)];
    try {
      const giveUp = AbortSignal.any([AbortSignal.timeout(STALLED), ...(request.signal ? [request.signal] : [])]);
      const answer = await fetch(url, { ...request, signal: giveUp, headers: { Accept: "application/json", ...request.headers } });
      if (answer.ok) {
        // Read straight into buffers, answers stay in Chromium's tab for too long.
        const body = answer.status === 204 ? null : await (await answer.blob()).arrayBuffer();
        // If headers break off, a browser treats them as complete, with an empty body.
        if (body?.byteLength === 0) throw new TypeError("the answer broke off");
        return read(answer, body);
      }
      const again = [408, 425, 429].includes(answer.status) || answer.status >= 500;
      const seconds = Number(answer.headers.get("Retry-After")) || 0;
      const full = answer.status === 507 || seconds > LONGEST_WAIT;
      const text = await answer.text();
      if (!again || full) throw new Refusal(answer, text);
      wait = Math.max(wait, seconds * 1_000);
    } catch (error) {
      if (error instanceof Refusal) throw error;
      request.signal?.throwIfAborted();
    }
    if (onLost()) return null;
    await pause(wait, request.signal);
  }
}

// A pause that ends early when the network is back, or with an AbortError.
function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = new AbortController();
    const over = (settle) => () => {
      clearTimeout(timer);
      stop.abort();
      settle();
    };
    const timer = setTimeout(over(resolve), milliseconds);
    addEventListener("online", over(resolve), { signal: stop.signal });
    signal?.addEventListener("abort", over(() => reject(signal.reason)), { signal: stop.signal });
  });
}

const RESERVED = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)/i; // Windows reserves these
// Control and format characters, of which some reverse the text after them, so that "exe.gpj" looks like "jpg.exe".
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** A file name that is safe on every system: not a path, not reserved, all visible. */
export function safeName(name) {
  let safe = name.replace(INVISIBLE, "").replace(/[<>:"/\\|?*]/g, "_").replace(/^[. ]+|[. ]+$/g, "");
  if (RESERVED.test(safe)) safe = `_${safe}`;
  const dot = safe.lastIndexOf(".");
  const end = dot > 0 && safe.length - dot <= 16 ? safe.slice(dot) : "";
  const start = Array.from(safe.slice(0, safe.length - end.length));
  while (utf8(start.join("") + end).length > 200) start.pop();
  return start.join("") + end || "file";
}
