// The counts above the list, and what the slider says. Everything is counted anew at each move of it.
const TOP = Math.max(1, Math.ceil(1000 * pairs.score.reduce((a, b) => Math.max(a, b), 0)) / 1000);
const BARS = 120;

function fillSlider() {
  const low = Math.floor(1000 * Math.min(LISTED, TOP - 0.001)) / 1000;
  for (const id of ["score", "score-number"]) {
    el(id).min = low;
    el(id).max = TOP;
  }
  const bins = new Uint32Array(BARS);
  for (const score of pairs.score) bins[Math.max(0, Math.min(BARS - 1, Math.floor(BARS * (score - low) / (TOP - low))))]++;
  const most = Math.sqrt(Math.max(1, ...bins));
  el("bars-of-scores").append(...Array.from(bins, (n) => {
    const bar = make("i");
    bar.style.height = `${n ? 8 + 92 * Math.sqrt(n) / most : 0}%`;
    return bar;
  }));
}

/** Sets the score at which everything is counted. */
function setThreshold(value) {
  threshold = value;
  el("score").value = value;
  el("score-number").value = Number(value.toFixed(4));
  for (const button of document.querySelectorAll("[data-at]")) button.setAttribute("aria-pressed", data.thresholds[button.dataset.at] === value);
  if (el("by-score").checked || el("order").value === "near") update();
  else markRows();
  drawCounts();
}

const cell = (...inside) => make("td", {}, ...inside);
const share = (part, whole) => part ? [full.format(part), " ", make("small", {}, percent(part, whole))] : ["0"];

function drawCounts() {
  const sums = recount(threshold), here = pairsAt(threshold);
  const total = sums.reduce((sum, { found }) => sum + found, 0), counted = sums.reduce((sum, each) => sum + each.counted, 0);
  el("at-score").textContent = `${many(here.count, "pair", "pairs")}${data.total > N ? " of this page" : ""}, ${many(here.images, "training image", "training images")}, ${many(total, "evaluation image", "evaluation images")} (${full.format(counted)} after review)`;
  drawExpected();
  el("counts").replaceChildren(...data.sets.map(([name, format, images, undecodable, reported, paper], i) => {
    const { found, verified, confirmed, refuted, counted: after } = sums[i];
    const cells = [[full.format(images)], [full.format(undecodable)], share(found, images), share(verified, images), [full.format(confirmed)], [full.format(refuted)], share(after, images), share(reported, images)];
    if (data.sets.some((set) => set[5])) cells.push(paper ? [make("small", {}, `${paper[0]}: `), `${full.format(paper[2])} of ${full.format(paper[1])} `, make("small", {}, percent(paper[2], paper[1]))] : []);
    return make("tr", {}, make("th", { scope: "row" }, make("bdi", {}, name), " ", make("small", {}, format)), ...cells.map((inside) => cell(...inside)));
  }));
}

function drawExpected() {
  const found = expectedFalse(threshold);
  el("expected").replaceChildren(...found ? [
    "false pairs to expect: ", make("b", {}, `${found.bound} ${rough(found.expected)}`.trim()), ` (${rough(found.low)} to ${rough(found.high)})`,
  ] : ["false pairs to expect: not measured"]);
}

function drawProgress() {
  const counts = tally(), done = N - counts.left;
  const bar = el("progress");
  for (const part of bar.children) part.style.width = `${N ? 100 * counts[part.dataset.part] / N : 0}%`;
  bar.setAttribute("aria-valuenow", done);
  bar.setAttribute("aria-valuetext", `${done} of ${N} decided`);
  for (const part of document.querySelectorAll("[data-count]")) part.textContent = full.format(counts[part.dataset.count]);
  el("undo").disabled = !steps.length;
}
