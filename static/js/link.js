// A read-only field that selects its text when it gets the focus.

export default function link(field) {
  field.addEventListener("focus", () => field.select());
}
