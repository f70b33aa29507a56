// Warns before the page is closed while the message on it has not been copied: there is no other one.

export default function keep(section) {
  const message = section.querySelector("[data-secret]");

  document.addEventListener("copy", () => {
    if (getSelection().containsNode(message, true)) message.dataset.copied = "";
  });
  addEventListener("beforeunload", (event) => {
    if (message.textContent && !("copied" in message.dataset)) event.preventDefault();
  });
}
