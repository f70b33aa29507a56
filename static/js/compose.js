// The form for a new message: seals the message before htmx sends it, then adds the token to the link it gets.

export default async function compose(form) {
  const sealing = await import(form.dataset.seal);
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
      // Properties, not attributes: a saved page does not contain the token.
      for (const link of fragment.querySelectorAll("[data-link]")) link.value += `#${ctx.sealed.token}`;
      for (const field of fragment.querySelectorAll("[data-proof]")) field.value = ctx.sealed.proof;
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
  const lock = await sealing.lockOf(token, passphrase);
  const fields = {
    sealed: await sealing.seal(lock, message.replaceAll("\r\n", "\n")),
    verifier: lock.verifier,
    has_passphrase: String(passphrase !== ""),
    lifetime,
  };
  return { token, proof: lock.proof, fields };
}
