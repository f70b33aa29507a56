// A button that copies the field or the text that data-copies names, and says whether it did.

export default function copy(button) {
  const source = document.getElementById(button.dataset.copies);
  const label = button.textContent;

  button.addEventListener("click", async () => {
    const text = source.value ?? source.textContent;
    const copied = await copiedByApi(text) || copiedBySelection(source, text);
    if (copied) source.dataset.copied = "";
    button.textContent = copied ? "Copied" : "Now press Ctrl+C";
    const status = document.getElementById("status");
    status.textContent = copied ? "Copied." : "It is selected: press Ctrl+C to copy it.";
    setTimeout(() => { button.textContent = label; }, 3000);
  });
}

async function copiedByApi(text) {
  return navigator.clipboard?.writeText(text).then(() => true, () => false);
}

// Where the Clipboard API is missing (an origin that is not secure) or refused.
function copiedBySelection(source, text) {
  getSelection().selectAllChildren(source);
  source.select?.();
  const put = (event) => { event.clipboardData.setData("text/plain", text); event.preventDefault(); };
  document.addEventListener("copy", put, { once: true });
  const copied = document.execCommand("copy");
  document.removeEventListener("copy", put);
  return copied;
}
