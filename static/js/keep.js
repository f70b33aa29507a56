// Warns before the page closes if its message has not been copied: there is no other copy.

export default function keep(section) {
  const message = section.querySelector("[data-secret]");

  document.addEventListener("copy", () => {
    if (getSelection().containsNode(message, true)) message.dataset.copied = "";
  });
  addEventListener("beforeunload", (event) => {
    if (message.textContent && !("copied" in message.dataset)) event.preventDefault();
  });
}
