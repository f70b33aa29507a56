// Several readers: seals and puts the message once for each, and shows the links in a table.

const TRIES = 4; // of one note, while the server says that it has too many requests
const LONGEST_PAUSE = 30; // seconds

/**
 * Puts `number` notes and replaces the page's content by their table. If some could not be put, the page shows
 * those that were, and offers to try the rest again.
 *
 * `seal` makes a new sealed note with each call. Throws if no note at all was put.
 */
export async function putSeveral(form, number, seal, passphrase) {
  const { send } = form;
  const made = [];
  await putThem(made, number, seal);
  if (!made.length) throw new Error("no note was put");
  const main = document.getElementById("main");
  const panel = document.getElementById("several").content.cloneNode(true);
  const row = document.getElementById("several-row").content;
  fill(panel, made, number, seal, passphrase, row, form.dataset);
  main.replaceChildren(panel);
  document.dispatchEvent(new Event("new-content"));
}

// Adds to `made` until it has `number` notes or one cannot be put; returns why: a problem's text, or "".
async function putThem(made, number, seal) {
  while (made.length < number) {
    const { token, receipt, fields } = await seal();
    const answer = await put(fields);
    if (answer?.status !== 201) return (await problemOf(answer)) ?? "";
    const { url, expires_at } = await answer.json();
    made.push({ link: `${url}#${token}`, receipt: `${url}/receipt#${receipt}`, expires_at });
  }
  return "";
}
