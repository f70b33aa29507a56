// A passphrase of five words from EFF's first short list, drawn uniformly: 51 bits.

const WORDS = 5;
const LENGTH = 1296; // of the list
const FAIR = 65536 - (65536 % LENGTH); // what lies above would favour some words

/** Five words, a space between them. Loads the list from `url`. Throws if it does not arrive with this hash. */
export async function newWords(url, integrity) {
  const answer = await fetch(url, { integrity });
  const list = (await answer.text()).trim().split("\n");
  if (!answer.ok || list.length !== LENGTH) throw new Error("this is not the list");
  return Array.from({ length: WORDS }, () => list[drawn()]).join(" ");
}

function drawn() {
  let number;
  do [number] = crypto.getRandomValues(new Uint16Array(1)); while (number >= FAIR);
  return number % LENGTH;
}
