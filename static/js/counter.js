// Shows how many bytes of UTF-8 a field has used of its limit. Over the limit, the form cannot be sent.

const number = new Intl.NumberFormat("en");

export default function counter(field) {
  const limit = Number(field.dataset.limit);
  const count = document.getElementById(field.dataset.count);
  const problem = document.getElementById(`problem-${field.id}`);
  const tooLong = `This is too long: the limit is ${number.format(limit)} bytes. Most letters take one byte.`;

  function update() {
    const bytes = new TextEncoder().encode(field.value).length;
    if (count) count.textContent = `${number.format(bytes)} of ${number.format(limit)} bytes`;
    const over = bytes > limit;
    if (over === (field.validationMessage === tooLong)) return;
    field.setCustomValidity(over ? tooLong : "");
    field.setAttribute("aria-invalid", String(over));
    problem.textContent = over ? tooLong : "";
  }

  field.addEventListener("input", update);
  update();
}
