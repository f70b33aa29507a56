// The confirm page: when a person clicks, sends the server a proof in place of the token and opens the sealed
// message that it gets.

export default async function reveal(form) {
  const sealing = await import(form.dataset.seal);
  const send = form.querySelector("[data-send]");
  const notice = form.querySelector("[data-server-opens]");
  const consent = notice.querySelector("input");
  const { token } = form.elements;
  const fromServer = token.value;

  async function readLink() {
    // Mail and chat programs may add a full stop or a bracket to the link.
    token.value = fromServer || location.hash.slice(1).match(/^[0-9A-Za-z]*/)[0];
    const whole = await sealing.isToken(token.value);
    document.querySelector("[data-whole]").hidden = !whole;
    document.querySelector("[data-broken]").hidden = whole;
    send.disabled = !whole || !(sealing.canSeal() || consent.checked);
  }

  // A submit event is trusted even if a script caused it, but then the click before it is not.
  let clicked = false;
  send.addEventListener("click", ({ isTrusted }) => { clicked = isTrusted; });

  form.addEventListener("htmx:config:request", (event) => {
    const { ctx } = event.detail;
    if (!clicked || !ctx.sourceEvent.isTrusted) return event.preventDefault();
    clicked = false;
    if (!sealing.canSeal() && consent.checked) return;
    const passphrase = form.elements.passphrase?.value;
    ctx.request.body = new FormData();
    ctx.fetch = async (url, request) => {
      ctx.lock = await sealing.lockOf(token.value, passphrase);
      return fetch(url, { ...request, body: new URLSearchParams({ proof: ctx.lock.proof }) });
    };
  });

  form.addEventListener("htmx:before:swap", ({ detail: { ctx, tasks } }) => {
    const box = tasks[0]?.fragment.querySelector("[data-secret]");
    if (!box) return;
    history.replaceState(null, "", `/${form.dataset.key}`);
    if (box.dataset.sealed) open(sealing, ctx.lock, box);
  });

  form.querySelector("[data-waiting]").hidden = true;
  notice.hidden = sealing.canSeal();
  consent.addEventListener("change", readLink);
  addEventListener("hashchange", readLink);
  await readLink();
}

async function open(sealing, lock, box) {
  const { sealed } = box.dataset;
  delete box.dataset.sealed;
  try {
    box.textContent = await sealing.open(lock, sealed);
  } catch {
    document.querySelector("[data-opened]").hidden = true;
    document.querySelector("[data-unopenable]").hidden = false;
  }
}
