// The form for a new message: seals the message before htmx sends it, then adds their secrets
// to the link and to the receipt.

export default function compose(form, sealing) {
  const send = form.querySelector("[data-send]");
  const notice = form.querySelector("[data-server-seals]");
  const consent = notice.querySelector("input");

  form.addEventListener("htmx:config:request", ({ detail: { ctx } }) => {
    if (!sealing.canSeal() && consent.checked) return;
    const fields = Object.fromEntries(ctx.request.body);
    ctx.request.body = new FormData(); // if anything fails from here on, nothing unsealed is sent
    ctx.fetch = async (url, request) => {
      ctx.sealed = await sealed(sealing, fields, form);
      return (form.fetchNote ?? fetch)(url, { ...request, body: new URLSearchParams(ctx.sealed.fields) });
    };
  });

  form.addEventListener("htmx:before:swap", ({ detail: { ctx, tasks } }) => {
    for (const { fragment } of ctx.sealed ? tasks : []) {
      // Properties, not attributes: a saved page does not contain the secrets.
      for (const link of fragment.querySelectorAll("[data-link]")) link.value += `#${ctx.sealed.token}`;
      for (const link of fragment.querySelectorAll("[data-receipt]")) link.value += `#${ctx.sealed.receipt}`;
    }
  });

  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !send.disabled) form.requestSubmit(send);
  });

  const files = form.querySelector("[data-files]");
  if (files) acceptFiles(form, files, sealing);

  form.querySelector("[data-waiting]").hidden = true;
  form.querySelector("[data-ready]").hidden = !sealing.canSeal();
  notice.hidden = sealing.canSeal();
  consent.addEventListener("change", () => { send.disabled = !consent.checked; });
  send.disabled = !sealing.canSeal();
}

async function sealed(sealing, { message, passphrase, lifetime }, form) {
  const token = await sealing.tokenOf(sealing.newSecret());
  const keys = await sealing.deriveKeys(token, passphrase);
  const text = message.replaceAll("\r\n", "\n");
  const fields = {
    ...(await form.sealFiles?.(keys, text) ?? { sealed: await sealing.seal(keys, text) }),
    link_verifier: keys.linkVerifier,
    reveal_verifier: keys.revealVerifier,
    has_passphrase: String(sealing.stripPassphrase(passphrase) !== ""),
    lifetime,
  };
  return { token, receipt: keys.receipt, fields };
}

// The script for files is loaded with the first file.
function acceptFiles(form, box, { canSeal }) {
  const input = box.querySelector("input");
  const add = (files) => {
    const chosen = [...files];
    if (!chosen.length) return;
    import(box.dataset.attach).then(({ attach }) => attach(form, chosen)).catch(() => {
      const problem = document.getElementById("problem-files");
      problem.textContent = problem.dataset.unloaded;
    });
  };
  box.hidden = !canSeal();
  if (!canSeal()) return;
  input.addEventListener("change", () => {
    add(input.files);
    input.value = "";
  });
  form.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length && !event.clipboardData.getData("text/plain")) add(event.clipboardData.files);
  });
  for (const type of ["dragover", "drop"]) {
    form.addEventListener(type, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      if (type === "drop") add(event.dataTransfer.files);
    });
  }
}
