// A button that copies the field or the text named by data-copies, and tells whether that worked.

export default function copy(button) {
  const label = button.textContent;

  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copies);
    const text = source.value ?? source.textContent;
    const copied = await copiedByApi(text) || copiedBySelection(source, text);
    if (copied) markAsCopied(source);
    const { done, byKey, byTouch } = button.dataset;
    const told = copied ? done : matchMedia("(pointer: coarse)").matches ? byTouch : byKey;
    button.style.minInlineSize = `${button.getBoundingClientRect().width}px`; // so nothing beside it moves
    button.textContent = told;
    document.getElementById("status").textContent = told;
    setTimeout(() => { button.textContent = label; }, 3000);
  });
}

// Some texts contain another field, such as the link, which is then copied as well.
function markAsCopied(source) {
  source.dataset.copied = "";
  const within = document.getElementById(source.dataset.hands ?? "");
  if (within) within.dataset.copied = "";
}

/** Whether the browser has put the text into the clipboard. */
export async function copiedByApi(text) {
  return navigator.clipboard?.writeText(text).then(() => true, () => false);
}

// For browsers that lack the Clipboard API (it needs a secure origin) or refuse it.
function copiedBySelection(source, text) {
  getSelection().selectAllChildren(source);
  source.select?.();
  const put = (event) => { event.clipboardData.setData("text/plain", text); event.preventDefault(); };
  document.addEventListener("copy", put, { once: true });
  const copied = document.execCommand("copy");
  document.removeEventListener("copy", put);
  return copied;
}
