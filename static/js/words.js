// A passphrase of five words from a list, drawn uniformly: at least 51 bits.

const WORDS = 5;
const SHORTEST = 1296; // words in a list

/** Five words, separated by spaces. Loads the list from `url`. Throws if it does not arrive with this hash. */
export async function newWords(url, integrity) {
  const answer = await fetch(url, { integrity });
  const list = (await answer.text()).trim().split("\n");
  if (!answer.ok || list.length < SHORTEST) throw new Error("this is not the list");
  return Array.from({ length: WORDS }, () => list[below(list.length)]).join(" ");
}

function below(limit) {
  const fair = 65536 - (65536 % limit); // higher numbers would favour some words
  let number;
  do [number] = crypto.getRandomValues(new Uint16Array(1)); while (number >= fair);
  return number % limit;
}
