// Warns when a field is near its limit, which is in bytes of UTF-8. Over the limit, the form cannot be sent.

const NEAR = 0.9; // of the limit
const bytesOf = (text) => new TextEncoder().encode(text).length;

export default function counter(field) {
  const { tooLong } = field.dataset;
  const limit = Number(field.dataset.limit);
  const count = document.getElementById(field.dataset.count);
  const problem = document.getElementById(`problem-${field.id}`);
  const number = new Intl.NumberFormat(document.documentElement.dataset.locale);

  function update() {
    const bytes = bytesOf(field.value);
    if (count) show(bytes);
    const over = bytes > limit;
    if (over === (field.validationMessage === tooLong)) return;
    field.setCustomValidity(over ? tooLong : "");
    field.setAttribute("aria-invalid", String(over));
    problem.textContent = over ? tooLong : "";
  }

  function show(bytes) {
    const [left, over] = count.querySelectorAll("[data-left], [data-over]");
    count.hidden = bytes < NEAR * limit;
    left.hidden = bytes > limit;
    over.hidden = bytes <= limit;
    if (bytes > limit) over.firstElementChild.textContent = number.format(beyond(field.value, limit));
    else left.firstElementChild.textContent = number.format(limit - bytes);
  }

  field.addEventListener("input", update);
  update();
}

// How many characters at the end of the text are beyond this many bytes.
function beyond(text, limit) {
  let bytes = 0;
  let characters = 0;
  for (const character of text) {
    bytes += bytesOf(character);
    if (bytes > limit) characters += 1;
  }
  return characters;
}
