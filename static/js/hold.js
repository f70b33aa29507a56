// A button that a person presses on purpose: held for half a second, or pressed twice with a moment in between.
// Link scanners press buttons too, but once, or twice at once (docs/decisions/0024).

const HOLD = 500; // milliseconds
const MOMENT = 1_000; // from a short press until the next one counts
const ARMED = 30_000; // until the next one no longer counts

/**
 * Calls `open` when a person presses on purpose. The step (rest, held, wait, ready, meant) is in data-press of the
 * section, which shows it, and the words of "ready" are announced.
 *
 * @param isShortEnough whether a single short press is enough
 * @returns a function that ends every press in progress
 */
export function onPurpose(button, isShortEnough, open) {
  const section = button.closest("section");
  let holding; // timers
  let arming;
  let readyAt = Infinity;

  function see() {
    const armed = readyAt === Infinity ? "wait" : "ready";
    section.dataset.press = holding ? "held" : arming ? armed : "rest";
  }

  function rest() {
    disarm();
    letGo();
  }

  function disarm() {
    clearTimeout(arming);
    arming = undefined;
    readyAt = Infinity;
    see();
  }

  function letGo() {
    clearTimeout(holding);
    holding = undefined;
    see();
  }

  function mean() {
    if (document.hidden || !document.hasFocus()) return rest();
    rest();
    section.dataset.press = "meant";
    addEventListener("keydown", ignoreRepeats); // or a space bar that is still held scrolls the message
    addEventListener("keyup", () => removeEventListener("keydown", ignoreRepeats), { once: true });
    open();
  }

  function hold() {
    clearTimeout(holding);
    holding = setTimeout(mean, HOLD);
    see();
  }

  function arm() {
    rest();
    arming = setTimeout(() => {
      readyAt = performance.now();
      arming = setTimeout(disarm, ARMED); // a press that has begun by then continues
      see();
      const { textContent } = section.querySelector("[data-step=ready]");
      document.getElementById("status").textContent = textContent;
    }, MOMENT);
    see();
  }

  // A screen reader, a switch or voice control makes such a press without a pointer or key.
  function pressShortly({ timeStamp }) {
    letGo();
    if (isShortEnough() || timeStamp > readyAt) mean();
    else arm();
  }

  const ignoreRepeats = (event) => event.repeat && event.preventDefault();
  const isKey = ({ key }) => key === "Enter" || key === " ";
  const over = () => button.disabled || section.dataset.press === "meant";
  // An event that a script makes up does not come from a person.
  const on = (type, act) => button.addEventListener(type, (event) => event.isTrusted && act(event));

  on("pointerdown", (event) => {
    button.releasePointerCapture(event.pointerId); // or a finger that slides off would not leave
    if (event.isPrimary && event.button === 0 && !over()) hold();
  });
  for (const type of ["pointerleave", "pointercancel", "blur"]) on(type, () => holding && letGo());
  on("contextmenu", (event) => holding && event.preventDefault()); // of a long touch
  on("keydown", (event) => {
    if (!isKey(event)) return;
    event.preventDefault();
    if (!event.repeat && !over()) hold();
  });
  on("keyup", (event) => {
    if (!isKey(event)) return;
    event.preventDefault();
    if (holding) pressShortly(event);
  });
  button.addEventListener("click", (event) => {
    event.preventDefault();
    if (event.isTrusted && !over()) pressShortly(event);
  });
  document.addEventListener("visibilitychange", () => holding && letGo());
  rest();
  return rest;
}
