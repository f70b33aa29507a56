// A button that opens the system's share sheet with the link that data-shares names, where there is one.

export default function share(button) {
  const link = document.getElementById(button.dataset.shares);
  button.hidden = navigator.share === undefined;
  button.addEventListener("click", () => {
    navigator.share({ url: link.value }).catch(() => {}); // closed without sharing: nothing to say
  });
}
