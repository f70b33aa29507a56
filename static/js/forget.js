// Wipes what is secret when the page is left, so that the browser's back-forward cache holds nothing of it.

export default function forget() {
  addEventListener("pagehide", () => {
    for (const element of document.querySelectorAll("[data-secret]")) {
      element.replaceChildren();
      element.removeAttribute("value");
      element.value = "";
    }
  });
  addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
}
