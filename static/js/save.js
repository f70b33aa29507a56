// A button that saves the text named by data-saves as a file named by data-file.

export default function save(button) {
  const source = document.getElementById(button.dataset.saves);

  button.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([source.textContent], { type: "text/plain;charset=utf-8" }));
    link.download = button.dataset.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000); // some browsers read it later
    source.dataset.copied = "";
  });
}
