// Which pairs are listed, and in what order.
const ORDERS = {
  high: (a, b) => pairs.score[b] - pairs.score[a],
  low: (a, b) => pairs.score[a] - pairs.score[b],
  near: (a, b) => Math.abs(pairs.score[a] - threshold) - Math.abs(pairs.score[b] - threshold),
  ssim: (a, b) => (pairs.ssim[b] ?? -2) - (pairs.ssim[a] ?? -2),
  unlike: (a, b) => (pairs.ssim[a] ?? 2) - (pairs.ssim[b] ?? 2),
  border: (a, b) => fromVerified(a) - fromVerified(b),
  eval: (a, b) => compareText(setOf(a)[0], setOf(b)[0]) || compareText(evalOf(a)[1], evalOf(b)[1]) || ORDERS.high(a, b),
  key: (a, b) => compareText(imageOf(a)[0], imageOf(b)[0]) || ORDERS.high(a, b),
};
const fromVerified = (i) => pairs.ssim_low[i] === null ? 3 : Math.abs(pairs.ssim_low[i] - data.thresholds.verify_ssim);
const compareText = (a, b) => a < b ? -1 : a > b ? 1 : 0;

let threshold = REPORT;
let listing = [];  // pairs in the order of the list
let words = null;  // of each pair, in lower case; made when first asked for

function wordsOf(i) {
  words ??= Array.from({ length: N }, (_, k) => {
    const [key, uri, labels] = imageOf(k), [, id, path] = evalOf(k);
    return [key, uri, ...labels.map((label) => data.labels[label]), setOf(k)[0], id, path, viewOf(k), transformOf(k)].join("\n").toLowerCase();
  });
  return words[i];
}

/** What the filters say: a test for a pair. */
function filterOf() {
  const value = (id) => el(id).value;
  const [set, level, verdict, decision, view] = ["by-set", "by-level", "by-verdict", "by-decision", "by-view"].map(value);
  const sought = value("by-text").toLowerCase().split(/\s+/).filter(Boolean);
  const above = el("by-score").checked;
  return (i) => (set === "" || evalOf(i)[0] === Number(set))
    && (level === "" || pairs.level[i] === Number(level))
    && (verdict === "" || pairs.verdict[i] === Number(verdict))
    && (decision === "" || choices[i] === Number(decision))
    && (view === "" || pairs.view[i] === Number(view))
    && (!above || pairs.score[i] >= threshold)
    && sought.every((word) => wordsOf(i).includes(word));
}

function relist() {
  const passes = filterOf(), order = ORDERS[el("order").value];
  listing = Array.from({ length: N }, (_, i) => i).filter(passes).sort((a, b) => order(a, b) || a - b);
}

function fillFilters() {
  const add = (id, names) => el(id).append(...names.map(([value, name]) => make("option", { value }, name)));
  add("by-set", data.sets.map(([name], i) => [i, name]));
  add("by-level", LEVELS.map((name, i) => [i, name]));
  add("by-decision", [[NONE, "undecided"], ...DECISIONS.map((name, i) => [i, name])]);
  add("by-view", pairs.views.map((name, i) => [i, name]).sort(([, a], [, b]) => compareText(a, b)));
}

function resetFilters() {
  for (const id of ["by-set", "by-level", "by-verdict", "by-decision", "by-view", "by-text"]) el(id).value = "";
  el("by-score").checked = false;
}
