// Counts down the time that a note has left, then shows that the note is gone. The server sends the time as
// seconds from now, because this computer's clock may be wrong.

export default function countdown(element) {
  const section = element.closest("[data-expires]");
  const end = Date.now() + element.dataset.seconds * 1000;

  for (const time of section.querySelectorAll("time[data-local]")) {
    const style = { dateStyle: "medium", timeStyle: "short" };
    time.textContent = new Date(time.dateTime).toLocaleString(undefined, style);
  }

  function tick() {
    const left = Math.ceil((end - Date.now()) / 1000);
    if (left > 0 && element.isConnected) {
      element.textContent = `${inWords(left)} left.`;
      return;
    }
    clearInterval(timer);
    if (element.isConnected) expire(section);
  }
  const timer = setInterval(tick, 1000);
  tick();
}

function inWords(seconds) {
  const two = (number) => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60) % 60;
  const hours = Math.floor(seconds / 3600) % 24;
  const days = Math.floor(seconds / 86400);
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours}:${two(minutes)}:${two(seconds % 60)}`;
  return `${minutes}:${two(seconds % 60)}`;
}

function expire(section) {
  const hadFocus = section.contains(document.activeElement);
  section.dataset.expired = "";
  for (const secret of section.querySelectorAll("[data-secret]")) secret.remove();
  const gone = section.querySelector(".when-expired [tabindex]");
  document.getElementById("status").textContent = gone.textContent;
  if (hadFocus) gone.focus();
}
