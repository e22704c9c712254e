// Every decision is kept in this browser at once, under the build's digest. Another tab may change it too, so it is
// read again before each change.
const ENTRY = `openjft-overlaps/1/${data.build}`;
let stored = null;  // the entry as this tab last read or wrote it
let storageFails = false;

/** Runs an action on the storage; null, and a warning that stays, where the browser has none or no room in it. */
function withStorage(action) {
  try {
    return action(window.localStorage);
  } catch {
    storageFails = true;
    el("warning").hidden = false;
    return null;
  }
}

function save() {
  const text = JSON.stringify(makeKept());
  withStorage((storage) => {
    storage.setItem(ENTRY, text);
    stored = text;
    storageFails = false;
    el("warning").hidden = true;
  });
}

/** Takes over what another tab, or an earlier visit, has written. Returns words on what had to be left out. */
function takeOver() {
  const text = withStorage((storage) => storage.getItem(ENTRY));
  if (text === null || text === stored) return "";
  stored = text;
  try {
    const read = readDocument(text);
    choices = given.slice();
    for (const [i, choice] of read.found) choices[i] = choice;
    steps = read.steps;
    reviewer = read.reviewer;
    const out = read.unusable + read.strange;
    return out ? `${many(out, "saved decision", "saved decisions")} could not be read and ${out === 1 ? "is" : "are"} left out.` : "";
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    withStorage((storage) => storage.setItem(`openjft-unreadable/1/${data.build}`, text.slice(0, 1e6)));
    return "What this browser had saved could not be read, and is not used: something else has changed it.";
  }
}
