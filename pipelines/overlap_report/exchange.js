// Decisions as a document: what is exported, imported and kept in the browser's storage. What comes in is not trusted:
// a document of something else is refused in plain words, a value that cannot be meant is left out and counted.
const MAX_FILE_BYTES = 64e6;
const MAX_KEPT_STEPS = 500;  // decisions taken back after a reload, at most
let reviewer = "";

const entryOf = (image_key, eval_set, eval_id, choice) => ({ image_key, eval_set, eval_id, decision: DECISIONS[choice] });

/** The decisions of pairs that pass, as entries of a document. */
const entriesOf = (passes) => Array.from(choices, (_, i) => i).filter((i) => choices[i] !== NONE && passes(i))
  .map((i) => entryOf(imageOf(i)[0], setOf(i)[0], evalOf(i)[1], choices[i]));

/** All decisions: also those that the build knew, and those on pairs that are not on this page. */
function makeDocument() {
  const kept = data.kept.map((parts) => entryOf(...parts));
  return { format: data.format, version: data.version, build: data.build, reviewer, decisions: [...entriesOf(() => true), ...kept] };
}

/** What the browser keeps: decisions that the build did not know, and the newest steps. */
function makeKept() {
  return { format: data.format, version: data.version, build: data.build, reviewer, decisions: entriesOf((i) => choices[i] !== given[i]), steps: keptSteps() };
}

/** Reads a document: {reviewer, found: Map of pair to choice, strange, unusable, steps}; throws `Refused`. */
function readDocument(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refused("it is not an exported file of decisions (no JSON, or cut off)");
  }
  if (!isObject(value) || value.format !== data.format || !Array.isArray(value.decisions)) throw new Refused("it is not an exported file of decisions");
  if (value.version !== data.version) throw new Refused(`it is of another version of this page (expected ${data.version})`);
  const read = readEntries(value.decisions);
  if (value.build !== data.build && !read.found.size) throw new Refused("it is of another build: none of its pairs is on this page");
  return { ...read, reviewer: cleanName(value.reviewer), sameBuild: value.build === data.build, steps: readSteps(value.steps) };
}

/** Choices by pair; `strange` counts those on pairs that are not on this page, `unusable` what is no decision. */
function readEntries(entries) {
  const found = new Map();
  let unusable = 0, strange = 0;
  for (const entry of entries) {
    const valid = isObject(entry) && ["image_key", "eval_set", "eval_id"].every((name) => typeof entry[name] === "string") && DECISIONS.includes(entry.decision);
    const i = valid ? positionOf.get(idOf(entry.image_key, entry.eval_set, entry.eval_id)) : undefined;
    const choice = valid ? DECISIONS.indexOf(entry.decision) : NONE;
    if (!valid) unusable++;
    else if (i === undefined) strange++;
    else if (found.has(i) && found.get(i) !== choice) unusable++;
    else found.set(i, choice);
  }
  return { found, unusable, strange };
}

/** The newest steps as [[id of the pair, choice before], ...]: few, so that each decision is saved at once. */
function keptSteps() {
  const kept = [];
  for (let s = steps.length - 1, size = 0; s >= 0; s--) {
    size += steps[s].length;
    if (size > MAX_KEPT_STEPS) break;
    kept.unshift(steps[s].map(([i, choice]) => [pairId(i), choice]));
  }
  return kept;
}

/** Steps that are whole; from the last that is not, nothing before it can be taken back. */
function readSteps(value) {
  const read = [];
  const isPart = (part) => Array.isArray(part) && positionOf.has(part[0]) && (part[1] === NONE || DECISIONS[part[1]] !== undefined);
  for (const step of Array.isArray(value) ? value : []) {
    if (Array.isArray(step) && step.length && step.every(isPart)) read.push(step.map(([id, choice]) => [positionOf.get(id), choice]));
    else read.length = 0;
  }
  return read;
}

/** A reviewer's name in its one spelling; "" for what is none. */
const cleanName = (text) => cleanNameOf(text, data.max_name_chars);

function fileName() {
  const safe = reviewer.replace(/[^\p{L}\p{M}\p{N}._-]+/gu, "_").replace(/^[._]+/, "") || "somebody";
  return `decisions-${safe}-${data.build.slice(0, 12)}.json`;
}

/** Hands the decisions over as a file; returns its name. */
function exportFile() {
  const { decisions, ...head } = makeDocument();
  return handOver(fileName(), `${JSON.stringify({ ...head, exported_at: new Date().toISOString(), decisions }, null, 1)}\n`);
}
