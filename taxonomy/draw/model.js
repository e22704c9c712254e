// The hierarchy as arrays. Categories stand in the order of display, so a list of children by number is in order.
// ALL stands for the forest where there are several roots.
const data = JSON.parse(el("data").textContent);
const N = data.ids.length, ALL = N, COUNTED = Boolean(data.expanded);
const NONE = [];

const idOf = (c) => c === ALL ? "" : data.ids[c];
const nameOf = (c) => c === ALL ? "everything" : data.names[c] || data.ids[c];
const parentsOf = (c) => {
  if (c === ALL || data.parents[c] === -1) return NONE;
  return typeof data.parents[c] === "number" ? [data.parents[c]] : data.parents[c];
};
const firstParent = (c) => {
  const up = c === ALL ? -1 : data.parents[c];
  return typeof up === "number" ? up : up[0];
};
const belowOf = (c) => c === ALL ? N : data.below[c];
const sizeOf = (c) => c === ALL ? 0 : COUNTED ? data.expanded[c] : data.below[c];
const LARGEST = Math.max(1, ...Array.from(data[COUNTED ? "expanded" : "below"].slice(0, 1)));

/** Children by parent as {starts, values}; with `firstOnly` each category stands under its first parent alone. */
function childLists(firstOnly) {
  const each = (visit) => {
    for (let c = 0; c < N; c++) {
      const up = data.parents[c];
      if (up === -1) visit(ALL, c);
      else if (typeof up === "number") visit(up, c);
      else if (firstOnly) visit(up[0], c);
      else for (const p of up) visit(p, c);
    }
  };
  const starts = new Int32Array(N + 2);
  each((p) => { starts[p + 1]++; });
  for (let i = 0; i <= N; i++) starts[i + 1] += starts[i];
  const next = starts.slice(), values = new Int32Array(starts[N + 1]);
  each((p, c) => { values[next[p]++] = c; });
  return { starts, values, of: (c) => values.subarray(starts[c], starts[c + 1]) };
}
const children = childLists(false);
const kept = childLists(true);
const roots = Array.from(children.of(ALL));
const TOP = roots.length === 1 ? roots[0] : ALL;

/** The path from a root to a category, by way of one of its parents and then of first parents. */
function pathTo(c, parent = firstParent(c)) {
  const path = [c];
  for (let p = parent; p !== -1 && c !== ALL; p = firstParent(p)) path.push(p);
  return path.reverse();
}

// Parents before children, each category once.
const order = new Int32Array(N + 1);
order[0] = ALL;
for (let i = 0, used = 1; i < used; i++) for (const c of kept.of(order[i])) order[used++] = c;

const level = new Int16Array(N + 1);
level[ALL] = TOP === ALL ? 0 : -1;
for (const c of order) for (const child of kept.of(c)) level[child] = level[c] + 1;

/** The share [x0, x1] of a circle that each category takes, by the sum of a weight in the tree of first parents. */
function partition(weight) {
  const value = new Float64Array(N + 1), x0 = new Float64Array(N + 1), x1 = new Float64Array(N + 1);
  const levels = new Int16Array(N + 1);  // below a category, as far as there is any weight
  for (let c = 0; c < N; c++) value[c] = weight(c);
  for (let i = N; i > 0; i--) {
    const c = order[i], up = data.parents[c] === -1 ? ALL : firstParent(c);
    value[up] += value[c];
    if (value[c]) levels[up] = Math.max(levels[up], levels[c] + 1);
  }
  x1[ALL] = 1;
  for (const c of order) {
    const scale = value[c] ? (x1[c] - x0[c]) / value[c] : 0;
    let x = x0[c];
    for (const child of kept.of(c)) {
      x0[child] = x;
      x += value[child] * scale;
      x1[child] = x;
    }
  }
  return { value, x0, x1, levels };
}
const byCategories = partition(() => 1);
const byImages = COUNTED ? partition((c) => data.asserted[c]) : null;

/** Branches that get a colour of their own: the top ones, of which the largest are split while they tell too little. */
function findBranches(sizes) {
  const whole = sizes.value[ALL];
  let found = Array.from(kept.of(TOP));
  for (let i = 0; i < 12 && found.length; i++) {
    const largest = found.reduce((a, b) => sizes.value[b] > sizes.value[a] ? b : a);
    const plain = found.filter((b) => sizes.value[b] >= 0.02 * whole).length;
    if (plain > 12 || sizes.value[largest] < (plain < 4 ? 0.2 : 0.4) * whole || kept.of(largest).length < 2) break;
    split.push(largest);
    found = found.flatMap((b) => b === largest ? Array.from(kept.of(largest)) : [b]);
  }
  return found;
}
const mainSizes = byImages && byImages.value[ALL] ? byImages : byCategories;
const split = [];
const branches = findBranches(mainSizes);

// Hues go around by a root of the size: large branches stand apart, small ones beside each other still differ.
const branchHue = new Float32Array(N + 1).fill(-1), hue = branchHue.slice();
const muted = new Set(split);
const widths = branches.map((b) => (mainSizes.value[b] / (mainSizes.value[ALL] || 1)) ** 0.6 + 1e-4);
const around = widths.reduce((a, b) => a + b, 0);
branches.reduce((done, b, i) => {
  branchHue[b] = hue[b] = 25 + 330 * (done + widths[i] / 2) / around;
  return done + widths[i];
}, 0);
for (const c of split) hue[c] = 25 + 330 * (mainSizes.x0[c] + mainSizes.x1[c]) / 2;
// Below a branch siblings lie a little beside its hue, by the golden ratio, so that neighbours differ.
for (const c of order) {
  if (branchHue[c] < 0) continue;
  kept.of(c).forEach((child, i) => {
    branchHue[child] = branchHue[c];
    hue[child] = branchHue[c] + 26 * ((0.3 + 0.618034 * i) % 1 - 0.5);
  });
}

const darkly = matchMedia("(prefers-color-scheme: dark)");
/** A category's colour; `deep` steps away from the middle it is paler, and stronger under the pointer. */
function colourOf(c, deep = 1, strong = false) {
  const lift = strong ? 0.07 : 0;
  if (hue[c] < 0) return darkly.matches ? `oklch(${0.4 + lift} 0.015 260)` : `oklch(${0.88 - lift} 0.014 260)`;
  const light = darkly.matches ? 0.64 - 0.035 * deep + lift : 0.7 + 0.032 * deep - lift;
  const chroma = (muted.has(c) ? 0.3 : 1) * (darkly.matches ? 0.125 - 0.006 * deep : 0.14 - 0.011 * deep);
  return `oklch(${light.toFixed(3)} ${chroma.toFixed(3)} ${hue[c].toFixed(1)})`;
}

const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const count = (n) => n < 100000 ? full.format(n) : short.format(n);
