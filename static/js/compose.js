// The form for a new message: seals it before htmx sends it, then adds its secrets to the link and the receipt.

export default function compose(form, sealing) {
  const { message, passphrase } = form.elements;
  const readers = form.querySelector("#readers");
  const send = form.querySelector("[data-send]");
  const notice = form.querySelector("[data-server-seals]");
  const consent = notice.querySelector("input");

  form.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (!sealing.canSeal() && consent.checked) return;
    const fields = Object.fromEntries(ctx.request.body);
    ctx.request.body = new FormData(); // if anything fails from here on, nothing unsealed is sent
    if (readers.valueAsNumber > 1) {
      event.preventDefault();
      forSeveral(form, readers.valueAsNumber, () => sealed(sealing, fields), fields.passphrase);
      return;
    }
    ctx.passphrase = sealing.stripPassphrase(fields.passphrase);
    ctx.clipboard = copyWhenKnown();
    ctx.fetch = async (url, request) => {
      ctx.sealed = await sealed(sealing, fields, form);
      return (form.fetchNote ?? fetch)(url, { ...request, body: new URLSearchParams(ctx.sealed.fields) });
    };
  });

  form.addEventListener("htmx:before:swap", ({ detail: { ctx, tasks } }) => {
    for (const { fragment } of ctx.sealed ? tasks : []) complete(fragment, ctx);
  });
  form.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => ctx.clipboard?.giveUp());

  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !send.disabled) form.requestSubmit(send);
  });

  // Loads what the next page needs before it is needed. If that fails, the page loads it again then.
  form.addEventListener("input", () => {
    for (const url of form.dataset.next.trim().split(" ")) import(url).catch(() => {});
  }, { once: true });

  addEventListener("beforeunload", (event) => {
    if (form.isConnected && message.value) event.preventDefault();
  });

  const box = form.querySelector("[data-files]"); // missing if the operator has turned files off
  const take = (files) => (box && sealing.canSeal() ? addFiles(form, box, files) : sayNoFiles(message));
  box?.querySelector("input").addEventListener("change", ({ target }) => {
    if (target.files.length) take(target.files);
    target.value = "";
  });
  form.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length && !clipboardData.getData("text/plain")) take(clipboardData.files);
  });
  document.addEventListener("drop", ({ dataTransfer }) => {
    if (form.isConnected && dataTransfer.files.length) take(dataTransfer.files);
  });

  form.querySelector("[data-new-words]").addEventListener("click", ({ currentTarget: { dataset } }) => {
    const problem = document.getElementById("problem-passphrase");
    import(dataset.newWords).then(({ newWords }) => newWords(dataset.list, dataset.listIntegrity)).then((words) => {
      passphrase.value = words;
      passphrase.dispatchEvent(new Event("input", { bubbles: true }));
      problem.replaceChildren();
    }).catch(() => { problem.textContent = dataset.unloaded; });
  });

  form.querySelector("[data-waiting]").hidden = true;
  form.querySelector("[data-ready]").hidden = !sealing.canSeal();
  for (const part of form.querySelectorAll("[data-sealed-here]")) part.hidden = !sealing.canSeal();
  notice.hidden = sealing.canSeal();
  consent.addEventListener("change", () => { send.disabled = !consent.checked; });
  send.disabled = !sealing.canSeal();
}

async function sealed(sealing, { message, passphrase, ...others }, form) {
  const token = await sealing.tokenOf(sealing.newSecret());
  const keys = await sealing.deriveKeys(token, passphrase);
  const text = message.replaceAll("\r\n", "\n");
  const fields = {
    ...(await form?.sealFiles?.(keys, text) ?? { sealed: await sealing.seal(keys, text) }),
    link_verifier: keys.linkVerifier,
    reveal_verifier: keys.revealVerifier,
    has_passphrase: String(sealing.stripPassphrase(passphrase) !== ""),
    ...others,
  };
  return { token, receipt: keys.receipt, fields };
}

// Adds the secrets to the share panel: as properties, not attributes, so that a saved page does not contain them.
function complete(panel, { sealed: { token, receipt }, passphrase, clipboard }) {
  const link = panel.querySelector("[data-link]");
  if (!link) return; // the server has refused
  link.value += `#${token}`;
  panel.querySelector("[data-receipt]").value += `#${receipt}`;
  const box = panel.querySelector("[data-passphrase]");
  if (box) {
    box.hidden = false;
    box.querySelector("input").value = passphrase;
    for (const text of box.querySelectorAll("[data-text]")) {
      text.value = text.defaultValue.replace("{link}", () => link.value).replace("{passphrase}", () => passphrase);
    }
  }
  const wasCopied = panel.querySelector("[data-was-copied]");
  clipboard.copy(link.value).then((copied) => {
    if (!copied) return;
    link.dataset.copied = "";
    wasCopied.hidden = false;
  });
}

// Asks to copy the link during the click, before the link is known: later, a browser may not permit it.
function copyWhenKnown() {
  let known, giveUp;
  const text = new Promise((resolve, reject) => {
    known = (link) => resolve(new Blob([link], { type: "text/plain" }));
    giveUp = () => reject(new Error("there is no link"));
  });
  text.catch(() => {});
  let copied = Promise.resolve(false); // if a browser cannot do it, the panel has a button
  if (navigator.clipboard?.write && globalThis.ClipboardItem) {
    copied = navigator.clipboard.write([new ClipboardItem({ "text/plain": text })]).then(() => true, () => false);
  }
  return {
    copy(link) {
      known(link);
      return copied;
    },
    giveUp,
  };
}

async function forSeveral(form, number, seal, passphrase) {
  if (form.matches("[aria-busy=true]")) return;
  tell(form, "page:busy", true);
  try {
    const { putSeveral } = await import(form.dataset.several);
    const why = await putSeveral(number, seal, passphrase);
    if (why !== undefined) tell(form, "page:unanswered", why);
  } catch {
    tell(form, "page:unanswered"); // the script did not load, or this browser cannot seal
  }
  tell(form, "page:busy", false);
}

function tell(form, type, detail) {
  form.dispatchEvent(new CustomEvent(type, { bubbles: true, detail: detail ?? undefined }));
}

function sayNoFiles(message) {
  const problem = document.getElementById("problem-message");
  problem.textContent = message.dataset.noFiles;
  message.addEventListener("input", () => problem.replaceChildren(), { once: true });
}

// The scripts for files are loaded with the first file.
function addFiles(form, box, files) {
  const chosen = [...files];
  const problem = document.getElementById("problem-files");
  Promise.all(box.dataset.attach.split(" ").map((url) => import(url)))
    .then((modules) => Object.assign({}, ...modules))
    .then((tools) => tools.attach(form, chosen, tools))
    .catch(() => { problem.textContent = problem.dataset.unloaded; });
}
