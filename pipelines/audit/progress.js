// How far one is, how fast, and how long it may still take.
const PACE_OVER = 50, PAUSE_MS = 60_000;  // a longer one is a break and says nothing about the pace
let times = [], lastAt = null;  // ms that each of the last answers took

function countAnswer() {
  const now = performance.now();
  if (lastAt !== null && now - lastAt <= PAUSE_MS) times = [...times, now - lastAt].slice(-PACE_OVER);
  lastAt = now;
}

const uncountAnswer = () => { times.pop(); };

/** "20 a minute, about 40 min left"; "" before there is anything to go by. */
function paceWords(left) {
  if (times.length < 5 || !left) return "";
  const each = times.reduce((a, b) => a + b) / times.length;
  return `${full.format(Math.max(1, Math.round(60_000 / each)))} a minute, ${durationWords(each * left)} left`;
}

function durationWords(ms) {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 1) return "under a minute";
  if (minutes < 90) return `about ${minutes} min`;
  return `about ${Math.round(minutes / 30) / 2} h`;
}

function drawProgress() {
  const counts = tally(), done = N - counts.left;
  const bar = el("progress");
  for (const part of bar.children) part.style.width = `${100 * counts[part.dataset.part] / N}%`;
  bar.setAttribute("aria-valuenow", done);
  bar.setAttribute("aria-valuetext", `${done} of ${N} answered`);
  for (const part of el("counts").querySelectorAll("[data-count]")) part.textContent = full.format(counts[part.dataset.count]);
  el("pace").textContent = paceWords(counts.left);
  document.title = `${Math.floor(100 * done / N)} % \u00b7 ${data.title}`;
}
