// Counts at a score, as `counts.py` makes them: evaluation images of each set, each once, however many pairs it is in.
// `data.rest` stands for the pairs that are not on this page: of each evaluation image the best score of each kind.

/** [{found, verified, confirmed, refuted, counted}] of each set at a score. */
function recount(score) {
  const n = data.evals.length;
  const found = new Uint8Array(n), verified = found.slice(), confirmed = found.slice(), open = found.slice(), counted = found.slice();
  const add = (e, isVerified, choice, at) => {
    const near = at >= score;
    if (near) {
      found[e] = 1;
      if (isVerified) verified[e] = 1;
      if (choice === COPY) confirmed[e] = 1;
      if (choice !== DIFFERENT) open[e] = 1;
    }
    if (choice === COPY || (near && isVerified && choice !== DIFFERENT)) counted[e] = 1;
  };
  for (let i = 0; i < N; i++) add(pairs.eval[i], pairs.verdict[i] === VERIFIED, choices[i], pairs.score[i]);
  for (const entry of data.rest) add(...entry);
  const sums = data.sets.map(() => ({ found: 0, verified: 0, confirmed: 0, refuted: 0, counted: 0 }));
  data.evals.forEach(([set], e) => {
    const sum = sums[set];
    sum.found += found[e];
    sum.verified += verified[e];
    sum.confirmed += confirmed[e];
    sum.refuted += found[e] && !open[e];
    sum.counted += counted[e];
  });
  return sums;
}

/** Pairs of this page at a score or above, and the training images in them. */
function pairsAt(score) {
  const images = new Set();
  let count = 0;
  for (let i = 0; i < N; i++) {
    if (pairs.score[i] < score) continue;
    count++;
    images.add(pairs.image[i]);
  }
  return { count, images: images.size };
}

// Nothing has no logarithm: next to it the line is that of the numbers themselves.
const between = (a, b, share) => a <= 0 || b <= 0 ? a + share * (b - a) : Math.exp(Math.log(a) + share * (Math.log(b) - Math.log(a)));

/** False pairs to be expected at a score or above: {expected, low, high, bound}; null where nobody has measured. */
function expectedFalse(score) {
  const curve = data.thresholds.curve;
  if (!curve.length) return null;
  let after = curve.findIndex((point) => point[0] >= score);
  if (after < 0) after = curve.length;
  if (after === 0 || after === curve.length) {
    const [at, expected, low, high] = curve[Math.min(after, curve.length - 1)];
    return { expected, low, high, bound: at === score ? "" : after ? "at most" : "at least" };
  }
  const left = curve[after - 1], right = curve[after];
  const share = (score - left[0]) / (right[0] - left[0]);
  const [expected, low, high] = [1, 2, 3].map((k) => between(left[k], right[k], share));
  return { expected, low, high, bound: "" };
}

/** A number of false pairs in few signs. */
function rough(value) {
  if (value >= 10 || value === 0) return full.format(Math.round(value));
  if (value >= 0.001) return String(Number(value.toPrecision(2)));
  const [digit, power] = value.toExponential(0).split("e-");
  return `${digit}\u00a0\u00d7\u00a010\u207b${Array.from(power, (d) => "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[d]).join("")}`;
}
const percent = (part, whole) => whole ? `${(100 * part / whole).toFixed(part && part / whole < 0.01 ? 2 : 1)}\u00a0%` : "";
