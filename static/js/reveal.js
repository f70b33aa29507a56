// The confirm page: asks the server about the message with a proof of the link; when a person presses the button
// on purpose, reveals the message with a second proof, opens it here, and tells the server that it has arrived.

const LONGEST_LOAD = 10_000; // milliseconds that the next page's scripts may keep a reader waiting

export default async function reveal(form, tools) {
  const { canSeal, isToken, linkProofOf, deriveKeys, toText, linkOf, statusOf, show, showExpiry, onPurpose, persist } = tools;
  const section = form.closest("section");
  const send = form.querySelector("[data-send]");
  const notice = form.querySelector("[data-server-opens]");
  const consent = notice.querySelector("input");
  const { passphrase } = form.elements;
  const choice = form.querySelector("[data-choice]");
  // Loads what the page of the message needs before the message, because it can be shown only once.
  const nextScripts = Promise.race([
    Promise.allSettled(form.dataset.next.trim().split(" ").map((url) => import(url))),
    new Promise((resolve) => { setTimeout(resolve, LONGEST_LOAD); }),
  ]);
  // The server repeats its answer to the same reader, in case the first one gets lost.
  const reader = toText(crypto.getRandomValues(new Uint8Array(32)));
  let link;
  let lost = false; // an answer that may have been the message

  function see(state, at) {
    show(section, state, at);
    const sealed = state === "unread" || state === "broken";
    section.classList.toggle("envelope", sealed);
    section.classList.toggle("gone", !sealed);
  }

  async function readLink() {
    if (!form.isConnected) return;
    const mine = linkOf(location);
    const { key, token } = mine;
    link = mine;
    // The address has another link by now, or the message is shown.
    const isOver = () => link !== mine || !form.isConnected;
    send.disabled = true;
    rest(); // a press was for the previous link
    clearProblem("problem");
    const isWhole = await isToken(token);
    if (isOver()) return;
    if (!isWhole) return see("broken");
    see("unread");
    form.querySelector("[data-waiting]").hidden = !canSeal();
    if (!canSeal() && !consent.checked) return;
    const claim = canSeal() ? { link_proof: await linkProofOf(token) } : { token };
    const status = await statusOf(key, claim, persist).catch(() => null);
    await nextScripts;
    // The scripts for files are loaded before the message, too.
    const forFiles = status?.file_bytes ? await toolsForFiles(form).catch(() => null) : {};
    if (isOver()) return;
    form.querySelector("[data-waiting]").hidden = true;
    if (!status) document.getElementById("problem").textContent = form.dataset.noStatus;
    else if (forFiles) showStatus(status, forFiles);
    else form.querySelector("[data-if-broken]").hidden = false;
  }

  function showStatus(status, { inBytes }) {
    see(status.status, status.at);
    if (status.status !== "unread") return;
    form.querySelector("[data-passphrase]").hidden = !status.has_passphrase;
    if (status.has_passphrase && !passphrase.required) askPassphrase();
    const files = section.querySelector("[data-with-files]");
    files.hidden = !status.file_bytes;
    if (status.file_bytes) files.querySelector("span").textContent = inBytes(status.file_bytes);
    showExpiry(section.querySelector("[data-expiry]"), status, readLink);
    waitFor(status.retry_after ?? 0);
  }

  function askPassphrase() {
    passphrase.required = true;
    send.textContent = send.dataset.short;
    if (document.activeElement === document.body) passphrase.focus();
  }

  function waitFor(seconds) {
    const wait = form.querySelector("[data-wait]");
    send.disabled = seconds > 0;
    wait.hidden = seconds <= 0;
    if (seconds <= 0) return;
    tools.countDown(wait.querySelector("[role=timer]"), seconds, () => {
      clearProblem("problem-passphrase");
      waitFor(0);
    });
  }

  // The passphrase is sign enough that this is on purpose.
  let meant = false;
  const rest = onPurpose(send, () => passphrase.required, () => {
    meant = true;
    form.requestSubmit(send);
    if (meant) rest(); // the browser says what is missing
    meant = false;
  });

  form.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (!meant || (!choice.disabled && form.elements.present.value !== "yes")) return event.preventDefault();
    meant = false;
    const { key, token } = link;
    const words = passphrase.value;
    ctx.request.action = `/${key}/reveal`;
    ctx.request.body = new FormData();
    if (!canSeal() && consent.checked) {
      ctx.request.body.set("token", token);
      ctx.request.body.set("passphrase", words);
      return;
    }
    ctx.request.timeout = 120_000; // longer than `persist` tries
    ctx.fetch = async (url, request) => {
      ctx.keys = await deriveKeys(token, words);
      const body = new URLSearchParams({ link_proof: ctx.keys.linkProof, reveal_proof: ctx.keys.revealProof, reader });
      return persist(url, { ...request, body }, () => { lost = true; });
    };
  });

  form.addEventListener("htmx:after:request", (event) => {
    const { response, hx } = event.detail.ctx;
    if (response.status < 500 && response.status !== 404) lost = false;
    if (response.status !== 429 || hx.retarget !== "#problem-passphrase") return;
    event.preventDefault(); // the countdown says the same, and continues
    waitFor(Number(response.headers.get("Retry-After")) || 5);
  });
  form.addEventListener("htmx:finally:request", rest);

  form.addEventListener("htmx:before:swap", ({ detail: { ctx, tasks } }) => {
    const fragment = tasks[0]?.fragment;
    for (const part of lost ? (fragment?.querySelectorAll("[data-lost]") ?? []) : []) {
      part.hidden = part.dataset.lost === "false";
    }
    const box = fragment?.querySelector("[data-secret]");
    if (!box) return;
    history.replaceState(null, "", `/${link.key}`);
    if (box.dataset.sealed) open(tools, ctx.keys, box, { form, key: link.key, reader }).then((mark) => acknowledge(tools, link.key, reader, mark));
  });

  // A browser that says that a program controls it also shows the choice.
  choice.hidden = choice.disabled = !navigator.webdriver;
  notice.hidden = canSeal();
  consent.addEventListener("change", readLink);
  addEventListener("hashchange", readLink);
  await readLink();
}

function clearProblem(id) {
  document.getElementById(id).replaceChildren();
  document.querySelector(`[aria-describedby~="${id}"]`)?.removeAttribute("aria-invalid");
}

// Returns the mark, which shows the sender that the message was opened.
async function open({ openSealed, showText, ...tools }, keys, box, { form, key, reader }) {
  const { sealed } = box.dataset;
  const files = box.parentElement.querySelector("[data-received]");
  delete box.dataset.sealed;
  try {
    showText(box, await (/^A[w-z0-9_-]/.test(sealed) // version 3 of the format
      ? toolsForFiles(form).then((more) => more.receive(files, { ...tools, ...more }, keys, sealed, key, reader))
      : openSealed(keys, sealed)));
    return keys.mark;
  } catch {
    document.querySelector("[data-opened]").hidden = true;
    document.querySelector("[data-unopenable]").hidden = false;
  }
}

function acknowledge({ persist }, key, reader, mark) {
  const body = new URLSearchParams(mark ? { reader, mark } : { reader });
  persist(`/${key}/received`, { method: "POST", body, keepalive: true }).catch(() => {}); // it ends by itself
}

// Repeats until they are loaded: a message can be revealed only once, and only these scripts open it.
async function toolsForFiles(form) {
  for (let pause = 500; ; pause *= 2) {
    try {
      const modules = await Promise.all(form.dataset.files.split(" ").map((url) => import(url)));
      return Object.assign({}, ...modules);
    } catch (error) {
      if (pause > 16_000) throw error;
      await new Promise((resolve) => { setTimeout(resolve, pause); });
    }
  }
}
