// What became of a message: asking the server, and showing the part of the page that says so.

/** The key and the token of the link that opened this page. The token is behind the # or in the path. */
export function linkOf({ pathname, hash }) {
  const [, key, inPath] = pathname.split("/");
  // Mail and chat programs may add a full stop or a bracket to the link.
  return { key, token: inPath || hash.slice(1).match(/^[0-9A-Za-z]*/)[0] };
}

/**
 * The server's answer to somebody who proves the link: `status` and what belongs to it, and `seconds_left`
 * until the expiry or `seconds_ago` since the end. The status is "unknown" if no message matches. Throws if this
 * server does not answer.
 */
export async function statusOf(key, claim, send = fetch) {
  const request = { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(claim) };
  const answer = await send(`/${key}/status`, request);
  const ours = answer.headers.has("Note-Whisperer");
  if (ours && [400, 404].includes(answer.status)) return { status: "unknown" };
  if (!ours || !answer.ok) throw new Error(`the server answered ${answer.status}`);
  const status = await answer.json();
  // By the server's clock, because this computer's may be wrong.
  const now = Date.parse(answer.headers.get("Date")) || Date.now();
  const seconds_left = (Date.parse(status.expires_at) - now) / 1000;
  return { ...status, seconds_left, seconds_ago: (now - Date.parse(status.at)) / 1000 };
}

/** Shows the part of `root` whose data-when has this state, with the time in it, and hides the others. */
export function show(root, state, at) {
  const before = headingOf(root);
  const hadFocus = root.contains(document.activeElement);
  for (const part of root.querySelectorAll("[data-when]")) {
    part.hidden = part.dataset.when !== state;
    const time = part.hidden || !at ? null : part.querySelector("time");
    if (time) {
      time.dateTime = at;
      time.textContent = moment(at);
    }
  }
  const heading = headingOf(root);
  if (heading === before) return;
  document.title = document.title.replace(/^.* · /, `${heading.textContent} · `);
  document.getElementById("status").textContent = heading.textContent;
  if (hadFocus) heading.focus();
}

const headingOf = (root) => [...root.querySelectorAll("h1")].find((heading) => !heading.closest("[hidden]"));

/** In the reader's time zone and the page's language: "25 Nov 2026, 14:05". */
export function moment(iso) {
  const { locale } = document.documentElement.dataset; // page.js
  return new Date(iso).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
}
