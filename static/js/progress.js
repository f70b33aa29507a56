// Shows how far an upload or a download is: bytes, time left, and a button that cancels it.

const ANNOUNCED_EVERY = 15_000; // milliseconds: a screen reader should not talk all the time
const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"];

/** A number of bytes in the language of the page: "3.4 MB". */
export function inBytes(bytes) {
  const step = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const how = { style: "unit", unit: UNITS[step], maximumFractionDigits: step > 1 ? 1 : 0 };
  return new Intl.NumberFormat(document.documentElement.dataset.locale, how).format(bytes / 1000 ** step);
}

function inTime(seconds) {
  const [unit, size] = seconds < 90 ? ["second", 1] : ["minute", 60];
  return new Intl.NumberFormat(document.documentElement.dataset.locale, { style: "unit", unit, maximumFractionDigits: 0 })
    .format(Math.ceil(seconds / size));
}

/** Shows `box` until `hide`. Its parts: progress, [data-done], [data-all], [data-left], [data-lost], [data-cancel]. */
export function progressOf(box, cancel) {
  const part = (name) => box.querySelector(`[data-${name}]`);
  const bar = box.querySelector("progress");
  const start = performance.now();
  let announced = start;
  part("lost").hidden = true;
  part("cancel").onclick = cancel;
  box.hidden = false;
  return {
    show(done, all) {
      const now = performance.now();
      [bar.max, bar.value] = [all, done];
      part("done").textContent = inBytes(done);
      part("all").textContent = inBytes(all);
      part("left").textContent = done ? inTime(((now - start) / 1000) * (all - done) / done) : "…";
      part("lost").hidden = true;
      if (now - announced < ANNOUNCED_EVERY) return;
      announced = now;
      document.getElementById("status").textContent = part("words").textContent;
    },
    lost() {
      if (!part("lost").hidden) return;
      part("lost").hidden = false;
      document.getElementById("status").textContent = part("lost").textContent;
    },
    hide() {
      box.hidden = true;
    },
  };
}
