// Wipes the secrets when the user leaves the page, so that the browser's back-forward cache has none of them.

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
