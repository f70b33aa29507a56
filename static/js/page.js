// What every page needs: htmx under Trusted Types, the behaviours that its elements ask for, the focus after
// a swap, and an error text if the server gives no usable answer.
(() => {
  // Fragments come from this server and never contain a script. Nothing is ever evaluated.
  const refuse = () => { throw new TypeError("an answer must not contain a script"); };
  const rules = {
    createHTML: (html) => (/<script/i.test(html) ? refuse() : html),
    createScript: refuse,
  };
  const policy = globalThis.trustedTypes?.createPolicy("htmx", rules) ?? rules;
  htmx.registerExtension("trusted-types", {
    init: (api) => api.initSecurity(policy, refuse, refuse),
  });

  // This page's import map has the hashes of its modules, and browsers load no others. After an upgrade, an answer
  // can name newer versions: use this page's own.
  const modules = Object.keys(JSON.parse(document.querySelector("[type=importmap]").textContent).integrity);
  const own = (url) => modules.find((module) => module.split("?")[0] === url.split("?")[0]) ?? url;

  const load = (urls = "") => Promise.all(urls.split(/\s+/).filter(Boolean).map((url) => import(own(url))));

  // data-behaviour and data-uses list the URLs of modules, with their fingerprints. The default export of each
  // behaviour is called once, with the element and with everything that the used modules export.
  function attachBehaviours() {
    for (const element of document.querySelectorAll("[data-behaviour]")) {
      const { behaviour, uses } = element.dataset;
      element.removeAttribute("data-behaviour");
      Promise.all([load(behaviour), load(uses)])
        .then(([modules, used]) => {
          const tools = Object.assign({}, ...used);
          return Promise.all(modules.map((module) => module.default(element, tools)));
        })
        .then(() => { element.dataset.attached = ""; });
    }
  }

  const problems = () => document.querySelectorAll("main .problem[role=alert]");
  const fieldOf = (problem) => document.querySelector(`[aria-describedby~="${problem.id}"]`);

  function clearProblems() {
    for (const problem of problems()) {
      problem.replaceChildren();
      fieldOf(problem)?.removeAttribute("aria-invalid");
    }
  }

  function showProblems() {
    for (const problem of problems()) {
      const field = fieldOf(problem);
      if (!problem.hasChildNodes() || !field) continue;
      field.setAttribute("aria-invalid", "true");
      field.focus();
    }
  }

  function noAnswer(form) {
    const text = document.createElement("p");
    text.textContent = form.dataset.noAnswer ?? "The server did not answer. Please try again.";
    document.getElementById("problem")?.replaceChildren(text);
  }

  function setBusy(form, busy) {
    form.setAttribute("aria-busy", String(busy));
    const send = form.querySelector("[data-busy]");
    if (send) [send.textContent, send.dataset.busy] = [send.dataset.busy, send.textContent];
  }

  document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
    clearProblems();
    setBusy(ctx.request.form, true);
  });

  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    // Show the server's own problems and its 404 page, but not the error page of a proxy, nor an answer that
    // broke off within its headers, which browsers take for an empty one.
    if (ctx.text && (ctx.response.status < 400 || ctx.response.status === 404 || ctx.hx.retarget)) return;
    event.preventDefault();
    noAnswer(ctx.request.form);
  });

  document.addEventListener("htmx:error", ({ detail: { ctx } }) => ctx && noAnswer(ctx.request.form));

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    attachBehaviours();
    if (ctx.hx.retarget) return showProblems();
    const heading = document.querySelector("main [data-focus]");
    document.title = document.title.replace(/^.* · /, `${heading.textContent} · `);
    scrollTo(0, 0);
    heading.focus();
  });

  document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
    setBusy(ctx.request.form, false);
  });

  attachBehaviours();
})();
