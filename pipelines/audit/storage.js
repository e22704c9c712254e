// The browser's storage: every answer is there before the next picture is. One entry holds a person's answers to a
// sample; other tabs with the same page write it too, so it is read again before each change.
const ENTRY = `openjft-answers/1/${data.sample}/`, PLACE = `openjft-place/1/${data.sample}/`;
const LAST = `openjft-annotator/1/${data.sample}`;
let stored = null;  // the entry as this tab last read or wrote it
let storageFails = false;

function setStorageFails(fails) {
  storageFails = fails;
  el("warning").hidden = !fails;
}

/** Runs an action on the storage; null, and a warning that stays, where the browser has none or no room in it. */
function withStorage(action) {
  try {
    return action(window.localStorage);
  } catch {
    setStorageFails(true);
    return null;
  }
}

function save() {
  if (!annotator) return;
  const text = JSON.stringify({ ...makeDocument(), steps: keptSteps() });
  withStorage((storage) => {
    storage.setItem(ENTRY + annotator, text);
    stored = text;
    setStorageFails(false);
  });
  savePlace();
}

function savePlace() {
  withStorage((storage) => storage.setItem(PLACE + annotator, String(at)));
}

/** Takes over what another tab has written. Returns whether there was anything, and what had to be left out. */
function takeOver() {
  const text = withStorage((storage) => storage.getItem(ENTRY + annotator));
  if (text === null || text === stored) return { changed: false, problem: "" };
  stored = text;
  try {
    const found = readDocument(text);
    if (found.annotator !== annotator || !found.sameSample) throw new Refused("it is somebody else's");
    answers = new Array(N).fill("");
    for (const [i, answer] of found.answers) answers[i] = answer;
    steps = found.steps;
    const out = found.unusable + found.strange;
    return { changed: true, problem: out ? `${many(out, "saved answer", "saved answers")} could not be read and ${out === 1 ? "is" : "are"} left out.` : "" };
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    withStorage((storage) => storage.setItem(`openjft-unreadable/1/${data.sample}/${annotator}`, text.slice(0, 1e6)));
    return { changed: false, problem: "What this browser had saved could not be read, and is not used: something else has changed it." };
  }
}

/** The question that was in view, or the first that is not answered. */
function savedPlace() {
  const text = withStorage((storage) => storage.getItem(PLACE + annotator));
  return text !== null && /^\d{1,9}$/.test(text) && isPlace(Number(text)) ? Number(text) : nextUnanswered(-1);
}

const lastAnnotator = () => cleanName(withStorage((storage) => storage.getItem(LAST)) ?? "");
const rememberAnnotator = (name) => withStorage((storage) => (name ? storage.setItem(LAST, name) : storage.removeItem(LAST)));

/** Names under which there are answers in this browser. */
function knownAnnotators() {
  const keys = withStorage((storage) => Array.from({ length: storage.length }, (_, i) => storage.key(i))) ?? [];
  return keys.filter((key) => key.startsWith(ENTRY)).map((key) => key.slice(ENTRY.length)).filter((name) => name && cleanName(name) === name).sort();
}
