// Several readers: seals and puts the message once for each, and shows the links in a table.

const TRIES = 4; // of one request, while the server asks to wait
const LONGEST_PAUSE = 30; // seconds
const TIMEOUT = 60_000;

/**
 * Puts the message `number` times and replaces the page by the table. If some could not be put, the page shows those
 * that were and offers to try the rest again. each call of `seal` seals the message again.
 *
 * Returns why not even one could be put, as `data-` attribute of the form that says so; otherwise undefined.
 */
export async function putSeveral(number, seal, passphrase) {
  const made = [];
  const why = await putThem(made, number, seal);
  if (!made.length) return why;
  const panel = document.getElementById("several").content.cloneNode(true).firstElementChild;
  const row = document.getElementById("several-row").content.firstElementChild;

  async function more({ currentTarget: button }) {
    button.disabled = true;
    const reason = await putThem(made, number, seal);
    button.disabled = false;
    show(reason);
  }

  function show(reason) {
    const rows = panel.querySelector("tbody");
    for (const note of made.slice(rows.children.length)) rows.append(rowOf(row, note, rows.children.length + 1));
    const incomplete = panel.querySelector("[data-incomplete]");
    incomplete.hidden = made.length === number;
    panel.querySelector("[data-made]").textContent = made.length;
    panel.querySelector("[data-wanted]").textContent = number;
    for (const part of incomplete.querySelectorAll("[data-why]")) part.hidden = part.dataset.why !== reason;
    document.dispatchEvent(new Event("page:shown"));
  }

  const time = panel.querySelector("time");
  time.dateTime = made[0].expires_at;
  time.textContent = new Date(time.dateTime).toLocaleString(document.documentElement.dataset.locale, { dateStyle: "medium", timeStyle: "short" });
  if (passphrase.trim()) {
    const box = panel.querySelector("[data-passphrase]");
    box.hidden = false;
    box.querySelector("input").value = passphrase;
  }
  panel.querySelector("[data-more]").addEventListener("click", more);
  panel.querySelector("[data-copies-all]").addEventListener("click", (event) => copyAll(event.currentTarget, panel, made));
  panel.querySelector("[data-saves]").addEventListener("click", (event) => save(event.currentTarget, panel, made));
  document.getElementById("main").replaceChildren(panel);
  show(why);
}

// Adds to `made` until it has `number` notes, or one could not be put: then returns why.
async function putThem(made, number, seal) {
  while (made.length < number) {
    const { token, receipt, fields } = await seal();
    const answer = await put(fields).catch(() => null);
    if (!answer) return navigator.onLine ? "noAnswer" : "offline";
    if (!answer.headers.has("Note-Whisperer")) return answer.ok ? "foreign" : "noAnswer";
    if (asksToWait(answer)) return "tooMany";
    if (answer.status !== 201) return "refused";
    const { url, expires_at } = await answer.json();
    made.push({ link: `${url}#${token}`, receipt: `${url}/receipt#${receipt}`, expires_at });
  }
}

async function put(fields) {
  for (let left = TRIES - 1; ; left -= 1) {
    const answer = await fetch("/post", {
      method: "POST",
      headers: { Accept: "application/json" },
      body: new URLSearchParams(fields),
      signal: AbortSignal.timeout(TIMEOUT),
    });
    // nginx limits requests by address, and the server limits requests in progress.
    const pause = Number(answer.headers.get("Retry-After") ?? Infinity);
    if (!asksToWait(answer) || !left || pause > LONGEST_PAUSE) return answer;
    await new Promise((resolve) => { setTimeout(resolve, 1000 * pause); });
  }
}

const asksToWait = ({ status }) => status === 429 || status === 503;

function rowOf(template, note, number) {
  const row = template.cloneNode(true);
  const heading = row.querySelector("th");
  heading.textContent = number;
  heading.id = `reader-${number}`;
  for (const what of ["link", "receipt"]) {
    const field = row.querySelector(`[data-${what}]`);
    const button = field.parentElement.querySelector("button");
    field.value = note[what]; // a property, so that a saved page does not contain it
    field.id = `${what}-${number}`;
    field.setAttribute("aria-labelledby", `column-${what} ${heading.id}`);
    button.dataset.copies = field.id;
    button.id = `copy-${field.id}`;
    button.setAttribute("aria-labelledby", `${button.id} column-${what} ${heading.id}`);
  }
  return row;
}

const cellsOf = (note, index) => [String(index + 1), note.link, note.receipt];

async function copyAll(button, panel, made) {
  const table = made.map((note, index) => cellsOf(note, index).join("\t")).join("\n");
  const copied = await navigator.clipboard?.writeText(table).then(() => true, () => false);
  if (copied) keep(panel);
  const label = button.textContent;
  button.textContent = document.getElementById("status").textContent = copied ? button.dataset.done : button.dataset.failed;
  button.disabled = true;
  setTimeout(() => {
    button.textContent = label;
    button.disabled = false;
  }, 3000);
}

function save(button, panel, made) {
  const headings = Array.from(panel.querySelectorAll("thead th"), (cell) => cell.textContent);
  const lines = [headings, ...made.map(cellsOf)].map((cells) => cells.map(quoted).join(","));
  const file = new Blob([lines.join("\r\n"), "\r\n"], { type: "text/csv" }); // RFC 4180
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = button.dataset.saves;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // some browsers read it later
  keep(panel);
}

const quoted = (text) => `"${text.replaceAll('"', '""')}"`;

function keep(panel) {
  for (const link of panel.querySelectorAll("[data-link]")) link.dataset.copied = "";
}
