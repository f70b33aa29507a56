// What every page needs: htmx under Trusted Types, behaviours, the focus after a swap, errors of the network.
(() => {
  // The page's language in this browser's region, for numbers and dates.
  const { lang, dataset } = document.documentElement;
  dataset.locale = navigator.languages.find((tag) => tag.startsWith(lang)) ?? lang;

  // The same page in another language keeps the secret behind the #.
  document.addEventListener("click", ({ target }) => {
    const link = target.closest?.("a[hreflang]");
    if (link) link.hash = location.hash;
  });

  // Fragments come from this server and never contain a script. Nothing is ever evaluated.
  const refuse = () => { throw new TypeError("an answer must not contain a script"); };
  const worker = "/shared-text-worker.js";
  const rules = {
    createHTML: (html) => (/<script/i.test(html) ? refuse() : html),
    createScript: refuse,
    createScriptURL: (url) => (url === worker ? url : refuse()),
  };
  const policy = globalThis.trustedTypes?.createPolicy("htmx", rules) ?? rules;
  htmx.registerExtension("trusted-types", {
    init: (api) => api.initSecurity(policy, refuse, refuse),
  });

  // After an upgrade, an answer can name newer modules: use those whose hashes are in this page's import map.
  const modules = Object.keys(JSON.parse(document.querySelector("[type=importmap]").textContent).integrity);
  const own = (url) => modules.find((module) => module.split("?")[0] === url.split("?")[0]) ?? url;

  const load = (urls = "") => Promise.all(urls.split(/\s+/).filter(Boolean).map((url) => import(own(url))));

  // data-behaviour and data-uses list URLs of modules. The default export of each behaviour is called once, with
  // the element and everything that the used modules export.
  function attachBehaviours() {
    for (const element of document.querySelectorAll("[data-behaviour]")) {
      const { behaviour, uses } = element.dataset;
      element.removeAttribute("data-behaviour");
      const waits = element.matches("button:enabled"); // a click before its script has loaded would do nothing
      if (waits) element.disabled = true;
      Promise.all([load(behaviour), load(uses)])
        .then(([modules, used]) => {
          const tools = Object.assign({}, ...used);
          return Promise.all(modules.map((module) => module.default(element, tools)));
        })
        .then(() => {
          if (waits) element.disabled = false;
          element.dataset.attached = "";
        }, () => sayBroken(element));
    }
  }

  // If a script did not load, no button may stay that does nothing.
  function sayBroken(element) {
    if (element.matches("button")) element.disabled = true;
    document.querySelector("[data-if-broken]")?.removeAttribute("hidden");
  }

  const problems = () => document.querySelectorAll("main .problem[id]");
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
    for (const problem of problems()) if (problem.hasChildNodes()) problem.scrollIntoView({ block: "nearest" });
  }

  // Why there is no answer, in the form's own words or in those of all pages.
  function noAnswer(form, why = navigator.onLine ? "noAnswer" : "offline") {
    const text = document.createElement("p");
    text.textContent = form.dataset[why] ?? document.body.dataset[why];
    document.getElementById("problem")?.replaceChildren(text);
    showProblems();
  }

  function setBusy(form, busy) {
    form.setAttribute("aria-busy", String(busy));
    const send = form.querySelector("[data-busy]");
    if (!send) return;
    send.style.minInlineSize = `${send.getBoundingClientRect().width}px`; // so nothing beside it moves
    [send.textContent, send.dataset.busy] = [send.dataset.busy, send.textContent];
  }

  document.addEventListener("htmx:before:request", ({ detail: { ctx } }) => {
    clearProblems();
    setBusy(ctx.request.form, true);
  });

  document.addEventListener("htmx:after:request", (event) => {
    const { ctx } = event.detail;
    // Show only what this server sent: no proxy's page, and no answer that broke off within its headers.
    const { status, headers } = ctx.response;
    if (ctx.text && headers.has("Note-Whisperer") && (status < 400 || status === 404 || ctx.hx.retarget)) return;
    event.preventDefault();
    noAnswer(ctx.request.form, status < 400 && !headers.has("Note-Whisperer") ? "foreign" : undefined);
  });

  document.addEventListener("htmx:error", ({ detail: { ctx } }) => ctx && noAnswer(ctx.request.form));

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    attachBehaviours();
    if (ctx.hx.retarget) return showProblems();
    showPage();
  });

  function showPage() {
    const heading = document.querySelector("main [data-focus]");
    document.title = document.title.replace(/^.* · /, `${heading.textContent} · `);
    scrollTo(0, 0);
    heading.focus();
  }

  document.addEventListener("htmx:finally:request", ({ detail: { ctx } }) => {
    setBusy(ctx.request.form, false);
  });

  // For scripts that send requests of their own (several.js).
  document.addEventListener("page:busy", ({ target, detail }) => setBusy(target, detail));
  document.addEventListener("page:unanswered", ({ target, detail }) => noAnswer(target, detail));
  document.addEventListener("page:shown", () => {
    attachBehaviours();
    showPage();
  });

  // Otherwise a file that is dropped beside its place would replace the page.
  for (const type of ["dragover", "drop"]) {
    document.addEventListener(type, (event) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    });
  }

  // A phone shares text only with services that a person has installed.
  function takeSharedText() {
    navigator.serviceWorker?.register(policy.createScriptURL(worker), { scope: "/shared-text" });
  }
  addEventListener("appinstalled", takeSharedText);
  if (!matchMedia("(display-mode: browser)").matches) takeSharedText();

  attachBehaviours();
})();
