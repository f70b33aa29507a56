// Counts down: the time that a message has left, and the wait before the next try.

/** Shows the seconds left in `element`, then calls `whenOver`. A new call replaces the previous one. */
export function countDown(element, seconds, whenOver) {
  const end = Date.now() + seconds * 1000;

  function tick() {
    const left = Math.ceil((end - Date.now()) / 1000);
    if (left > 0 && element.isConnected) {
      element.textContent = inWords(left);
      return;
    }
    stop(element);
    if (element.isConnected) whenOver();
  }

  stop(element);
  element.dataset.timer = setInterval(tick, 1000);
  tick();
}

function stop(element) {
  clearInterval(Number(element.dataset.timer));
}

/** When an unread message expires, and the time left until then. */
export function showExpiry(hint, { expires_at, seconds_left }, whenOver) {
  const time = hint.querySelector("time");
  time.dateTime = expires_at;
  time.textContent = new Date(expires_at).toLocaleString(document.documentElement.dataset.locale, { dateStyle: "medium", timeStyle: "short" });
  hint.hidden = false;
  countDown(hint.querySelector("[role=timer]"), seconds_left, whenOver);
}

function inWords(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60) % 60;
  const hours = Math.floor(seconds / 3600) % 24;
  const days = Math.floor(seconds / 86400);
  if (days) return `${inUnit(days, "day")} ${inUnit(hours, "hour")}`;
  if (hours) return `${hours}:${two(minutes)}:${two(seconds % 60)}`;
  return `${minutes}:${two(seconds % 60)}`;
}

function inUnit(count, unit) {
  const how = { style: "unit", unit, unitDisplay: "narrow" };
  return new Intl.NumberFormat(document.documentElement.dataset.locale, how).format(count);
}
