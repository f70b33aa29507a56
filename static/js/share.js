// A button that opens the system's share sheet, if there is one, with the link named by data-shares. On touch
// screens it is the main button and comes first.

export default function share(button) {
  const link = document.getElementById(button.dataset.shares);
  button.hidden = navigator.share === undefined;
  button.addEventListener("click", () => {
    navigator.share({ url: link.value }).then(
      () => { link.dataset.copied = ""; },
      () => {}, // closed without sharing: nothing to report
    );
  });
  if (button.hidden || !matchMedia("(pointer: coarse)").matches) return;
  const first = button.parentElement.firstElementChild;
  first.classList.add("quiet");
  button.classList.remove("quiet");
  first.before(button);
}
