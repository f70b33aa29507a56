// For the sender: shows what became of the message, and destroys it. While the page is visible, asks the server with
// the receipt, less and less often.

const FIRST_PAUSE = 2_000;
const LONGEST_PAUSE = 60_000;
const LAST_CONFIRMATION = 600; // seconds after which no reader can confirm
const RECEIPT = /\/([\w-]{5})\/receipt#([\w-]{43})([\w-]{43})(?![\w-])/;

export default function watch(section, { canSeal, verifierOf, statusOf, show, showExpiry }) {
  const receipt = section.querySelector("[data-receipt]")?.value ?? location.href;
  const [, key, link_proof, markVerifier] = receipt.match(RECEIPT) ?? [];
  const block = section.querySelector("[data-status]");
  const form = section.querySelector("form");
  let pause = FIRST_PAUSE;
  let asking = false;
  let over = false;
  let timer;

  async function ask() {
    clearTimeout(timer);
    if (asking || over || document.hidden || !block.isConnected) return;
    asking = true;
    await statusOf(key, { link_proof }).then(say).catch(() => see("silent"));
    asking = false;
    timer = setTimeout(ask, pause);
    block.dataset.pause = pause;
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }

  function askNow() {
    pause = FIRST_PAUSE;
    ask();
  }

  async function say(status) {
    const state = status.status === "read" ? await strength(status) : status.status;
    if (state !== block.dataset.state) pause = FIRST_PAUSE;
    over = !["unread", "taken"].includes(state) || status.seconds_ago > LAST_CONFIRMATION;
    if (state === "unread") {
      showExpiry(section.querySelector("[data-expiry]"), status, askNow);
      sayWrong(status.wrong_passphrases);
    } else end(state);
    see(state, status.at);
  }

  function see(state, at) {
    if (state === block.dataset.state) return; // nothing new to announce
    block.dataset.state = state;
    show(block, state, at);
  }

  // A mark that matches proves that somebody opened the message. Otherwise only the server says so.
  async function strength({ mark }) {
    return mark && canSeal() && (await verifierOf(mark)) === markVerifier ? "confirmed" : "taken";
  }

  function sayWrong(count) {
    const line = block.querySelector("[data-wrong]");
    const number = line.querySelector("span");
    line.hidden = !count;
    if (number.textContent !== String(count)) number.textContent = count;
  }

  function end(state) {
    const heading = section.querySelector("h1");
    const { heading: words } = block.querySelector(`[data-when="${state}"]`).dataset;
    if (heading.textContent === words) return;
    heading.textContent = words;
    document.title = document.title.replace(/^.* · /, `${words} · `);
    const lost = [...section.querySelectorAll("[data-until-end]")];
    const hadFocus = lost.some((part) => part.contains(document.activeElement));
    for (const part of lost) part.remove();
    if (hadFocus) heading.focus();
  }

  // Another receipt, in the same tab.
  addEventListener("hashchange", () => section.querySelector("[data-broken]")?.isConnected && location.reload());

  for (const part of section.querySelectorAll("[data-whole]")) part.hidden = !key;
  section.querySelector("[data-broken]")?.toggleAttribute("hidden", Boolean(key));
  if (!key) return;

  form.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
    ctx.request.action = `/${key}/destroy`;
    ctx.request.body = new FormData();
    ctx.request.body.set("link_proof", link_proof);
  });
  form.addEventListener("htmx:after:request", (event) => {
    const { status } = event.detail.ctx.response;
    if (status === 404) event.preventDefault(); // its page is for readers
    if (status === 404 || status === 409) askNow();
  });
  form.querySelector("button").disabled = false;
  document.addEventListener("visibilitychange", askNow);
  ask();
}
