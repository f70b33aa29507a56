// A button that opens the system's share sheet, if there is one, with the link named by data-shares.

export default function share(button) {
  const link = document.getElementById(button.dataset.shares);
  button.hidden = navigator.share === undefined;
  button.addEventListener("click", () => {
    navigator.share({ url: link.value }).catch(() => {}); // closed without sharing: nothing to report
  });
}
