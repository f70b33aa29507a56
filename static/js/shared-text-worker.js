// A service worker for one address: text that a phone shares gets into the form without leaving the phone. The browser
// sends it as a POST; this answers in place of the server, with the server's form and the text in it.

addEventListener("fetch", (event) => {
  const { method, mode } = event.request; // of the form in the page, too: only the POST that opens the page is a text
  if (method === "POST" && mode === "navigate") event.respondWith(filledForm(event.request));
});

async function filledForm(request) {
  const fields = await request.formData();
  const text = [fields.get("text"), fields.get("url")].filter(Boolean).join("\n");
  const form = await fetch("/");
  const page = (await form.text()).replace("</textarea>", (end) => escaped(text) + end);
  const headers = new Headers(form.headers);
  for (const name of ["Content-Encoding", "Content-Length"]) headers.delete(name); // of the server's page
  return new Response(page, { status: form.status, headers });
}

function escaped(text) {
  return text.replace(/[&<>"'\r]/g, (character) => `&#${character.codePointAt(0)};`);
}
