// A button that copies the field or the text named by data-copies, and tells whether that worked.

export default function copy(button) {
  const source = document.getElementById(button.dataset.copies);
  const label = button.textContent;

  button.addEventListener("click", async () => {
    const text = source.value ?? source.textContent;
    const copied = await copiedByApi(text) || copiedBySelection(source, text);
    if (copied) source.dataset.copied = "";
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    const status = document.getElementById("status");
    status.textContent = copied ? "Copied." : "The text is selected: press Ctrl+C to copy it.";
    setTimeout(() => { button.textContent = label; }, 3000);
  });
}

async function copiedByApi(text) {
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
