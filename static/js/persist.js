// Repeats a request until its whole answer has arrived: only for requests that may be repeated.

const PAUSES = [500, 1_000, 2_000, 4_000, 8_000, 16_000]; // milliseconds after each lost answer
const LONGEST = 60_000; // how long the server repeats a reveal
const STALLED = 15_000; // an answer that stops arriving is lost, like one that breaks off

/** The answer, read to its end. `onLost` is called after each try without an answer of this server. */
export async function persist(url, request, onLost = () => {}) {
  const start = performance.now();
  for (const pause of [...PAUSES, 0]) {
    const last = pause === 0 || performance.now() - start + pause > LONGEST;
    try {
      const answer = await whole(url, request);
      if (answer.status < 500 && answer.headers.has("Note-Whisperer")) return answer;
      onLost();
      if (last) return answer;
    } catch (error) {
      onLost();
      if (last || request.signal?.aborted) throw error;
    }
    await new Promise((resolve) => { setTimeout(resolve, pause); });
  }
}

async function whole(url, request) {
  const giveUp = new AbortController();
  const abort = () => giveUp.abort();
  request.signal?.addEventListener("abort", abort);
  let timer = setTimeout(abort, STALLED);
  try {
    const answer = await fetch(url, { ...request, signal: giveUp.signal });
    const reader = answer.body?.getReader();
    const parts = [];
    for (let part = await reader?.read(); part && !part.done; part = await reader.read()) {
      parts.push(part.value);
      clearTimeout(timer);
      timer = setTimeout(abort, STALLED);
    }
    // If headers break off, a browser treats them as complete, with an empty body.
    if (!parts.length && answer.status !== 204) throw new TypeError("the answer broke off");
    return new Response(parts.length ? new Blob(parts) : null, answer);
  } finally {
    clearTimeout(timer);
    request.signal?.removeEventListener("abort", abort);
  }
}
