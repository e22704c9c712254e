// The pairs as columns, and what has been decided about them. Every change is one step that can be taken back;
// nothing here draws. A choice is a place in DECISIONS, or NONE.
const data = JSON.parse(el("data").textContent);
const pairs = data.pairs, N = pairs.score.length, NONE = -1;
const DECISIONS = data.decisions, LEVELS = data.levels;
const [COPY, DIFFERENT, UNSURE] = ["copy", "different", "unsure"].map((name) => DECISIONS.indexOf(name));
const { remove: REMOVE, report: REPORT, listed: LISTED } = data.thresholds;
const [VERIFIED, ALIKE, NEITHER] = [0, 1, 2];  // a verdict, as the build gave it

const idOf = (image, set, id) => `${image}${set}\0${id}`;  // neither holds a zero character: files of decisions refuse it
const evalOf = (i) => data.evals[pairs.eval[i]];
const setOf = (i) => data.sets[evalOf(i)[0]];
const imageOf = (i) => data.images[pairs.image[i]];
const transformOf = (i) => pairs.transform[i] === NONE ? "" : pairs.transforms[pairs.transform[i]];
const viewOf = (i) => pairs.views[pairs.view[i]];
const pairId = (i) => idOf(imageOf(i)[0], setOf(i)[0], evalOf(i)[1]);
const positionOf = new Map(Array.from({ length: N }, (_, i) => [pairId(i), i]));

const given = Int8Array.from(pairs.decision);  // what the build already knew
let choices = given.slice();
let steps = [];  // [[pair, its choice before], ...], the newest last

/** Decides pairs in one step: [[pair, choice], ...]. */
function change(changes) {
  steps.push(changes.map(([i]) => [i, choices[i]]));
  for (const [i, choice] of changes) choices[i] = choice;
}

/** Takes the last step back and returns it; null where there is none. */
function takeBack() {
  const step = steps.pop() ?? null;
  for (const [i, choice] of step ?? []) choices[i] = choice;
  return step;
}

/** How many pairs have each choice, by its name; "left" have none. */
function tally() {
  const counts = { copy: 0, different: 0, unsure: 0, left: 0 };
  for (const choice of choices) counts[choice === NONE ? "left" : DECISIONS[choice]]++;
  return counts;
}
