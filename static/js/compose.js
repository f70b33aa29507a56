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
      ctx.sealed = await sealed(sealing, fields);
      return fetch(url, { ...request, body: new URLSearchParams(ctx.sealed.fields) });
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

  form.querySelector("[data-waiting]").hidden = true;
  form.querySelector("[data-ready]").hidden = !sealing.canSeal();
  notice.hidden = sealing.canSeal();
  consent.addEventListener("change", () => { send.disabled = !consent.checked; });
  send.disabled = !sealing.canSeal();
}

async function sealed(sealing, { message, passphrase, lifetime }) {
  const token = await sealing.tokenOf(sealing.newSecret());
  const keys = await sealing.deriveKeys(token, passphrase);
  const fields = {
    sealed: await sealing.seal(keys, message.replaceAll("\r\n", "\n")),
    link_verifier: keys.linkVerifier,
    reveal_verifier: keys.revealVerifier,
    has_passphrase: String(sealing.stripPassphrase(passphrase) !== ""),
    lifetime,
  };
  return { token, receipt: keys.receipt, fields };
}
