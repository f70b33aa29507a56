// A read-only field whose text is selected as soon as somebody goes there.

export default function link(field) {
  field.addEventListener("focus", () => field.select());
}
