// Answers as a document: what is exported, imported and kept in the browser's storage. What comes in is not trusted:
// a document of something else is refused in plain words, a value that cannot be meant is left out and counted.
const FORMAT = "openjft-answers", VERSION = 1, MAX_FILE_BYTES = 20e6;
const MAX_KEPT_STEPS = 500;  // answers taken back after a reload, at most

function makeDocument() {
  const given = [];
  questions.forEach(({ id }, i) => { if (answers[i]) given.push({ id, answer: answers[i] }); });
  return { format: FORMAT, version: VERSION, sample: data.sample, purpose: data.purpose, annotator, answers: given };
}

/**
 * Reads a document: {annotator, answers: Map of question to answer, unusable: entries left out, steps}.
 * Throws `Refused` with words for the reader.
 */
function readDocument(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Refused("it is not an exported file of answers (no JSON, or cut off)");
  }
  if (!isObject(value) || value.format !== FORMAT || !Array.isArray(value.answers)) throw new Refused("it is not an exported file of answers");
  if (value.version !== VERSION) throw new Refused(`it is of another version of this page (expected ${VERSION})`);
  if (value.purpose !== data.purpose) throw new Refused("its labels were drawn for another purpose (the filter's fit and the audit must not share answers)");
  const name = cleanName(value.annotator);
  if (!name) throw new Refused("it does not say who answered");
  const { found, unusable, strange } = readEntries(value.answers);
  if (value.sample !== data.sample && !found.size) throw new Refused("it answers another sample: none of its labels is on this page");
  return { annotator: name, answers: found, unusable, strange, sameSample: value.sample === data.sample, steps: readSteps(value.steps) };
}

/** Answers by question; `strange` counts those to labels that are not on this page, `unusable` what is no answer. */
function readEntries(entries) {
  const found = new Map();
  let unusable = 0, strange = 0;
  for (const entry of entries) {
    const valid = isObject(entry) && typeof entry.id === "string" && ANSWERS.includes(entry.answer);
    const i = valid ? positionOf.get(entry.id) : undefined;
    if (!valid) unusable++;
    else if (i === undefined) strange++;
    else if (found.has(i) && found.get(i) !== entry.answer) unusable++;
    else found.set(i, entry.answer);
  }
  return { found, unusable, strange };
}

/** The newest steps as [question in view, [[id, answer before], ...]]: few, so that each answer is saved at once. */
function keptSteps() {
  const kept = [];
  for (let s = steps.length - 1, size = 0; s >= 0; s--) {
    size += steps[s].before.length;
    if (size > MAX_KEPT_STEPS) break;
    kept.unshift([steps[s].at, steps[s].before.map(([i, answer]) => [questions[i].id, answer])]);
  }
  return kept;
}

/** Steps that are whole; from the last that is not, nothing before it can be taken back. */
function readSteps(value) {
  const read = [];
  for (const step of Array.isArray(value) ? value : []) {
    const whole = Array.isArray(step) && isPlace(step[0]) && Array.isArray(step[1]) && step[1].every(
      (pair) => Array.isArray(pair) && positionOf.has(pair[0]) && (pair[1] === "" || ANSWERS.includes(pair[1])));
    if (whole) read.push({ at: step[0], before: step[1].map(([id, answer]) => [positionOf.get(id), answer]) });
    else read.length = 0;
  }
  return read;
}
const isPlace = (value) => Number.isInteger(value) && value >= 0 && value <= N;

function fileName() {
  const safe = annotator.replace(/[^\p{L}\p{M}\p{N}._-]+/gu, "_").replace(/^[._]+/, "") || "somebody";
  return `answers-${safe}-${data.sample.slice(0, 12)}.json`;
}

/** Hands the answers over as a file; returns its name. */
function exportFile() {
  const { answers: given, ...head } = makeDocument();
  const text = JSON.stringify({ ...head, exported_at: new Date().toISOString(), answers: given }, null, 1);
  return handOver(fileName(), `${text}\n`);
}
