// Warns before the page closes while a link on it has not been copied, shared or drawn: there is no other copy.

export default function leave(section) {
  document.addEventListener("copy", () => {
    const { activeElement: field } = document;
    if (field.matches("[data-link]")) field.dataset.copied = "";
  });
  addEventListener("beforeunload", (event) => {
    if (section.isConnected && [...section.querySelectorAll("[data-link]")].some(isLost)) event.preventDefault();
  });
}

const isLost = (link) => link.value && !("copied" in link.dataset);
