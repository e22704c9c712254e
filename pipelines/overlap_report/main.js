// The commands, and what starts them: keys, buttons, other tabs.
const SEEN = 0.25;  // of a row, at least, for a decision on it: nobody decides what lies below the window's end
let unexported = false;  // decisions that would be gone with the page where the storage fails

/** A line that says what has happened; it stays until something else does. */
function say(text, kind = "") {
  el("message").textContent = text;
  el("message").dataset.kind = kind;
}

/** Lets other tabs' changes in before one of ours. */
function keepStep() {
  const problem = takeOver();
  if (problem) say(problem, "bad");
}

function keep() {
  unexported = true;
  save();
  show();
}

function show() {
  el("reviewer").value = reviewer;
  drawProgress();
  drawCounts();
  markRows();
}

function decide(choice) {
  const i = current();
  if (i === NONE) return say("No pair is listed.");
  if (seenOf(at) < SEEN) {
    goTo(at);
    return say("Look at this pair first: it was out of view.");
  }
  keepStep();
  const before = choices[i], place = at;
  if (before !== choice) change([[i, choice]]);
  keep();
  say(`${before !== NONE && before !== choice ? `Changed from ${DECISIONS[before]} to` : "Decided"} ${DECISIONS[choice]}: ${setOf(i)[0]} ${evalOf(i)[1]}`, DECISIONS[choice]);
  const next = before === NONE ? nextUndecided(place) : place + 1;
  return goTo(next < 0 ? place + 1 : next);
}

function undo() {
  keepStep();
  const step = takeBack();
  if (!step) return say("There is nothing to undo.");
  keep();
  const place = listing.indexOf(step[0][0]);
  if (place >= 0) goTo(place);
  return say(step.length > 1 ? `Undone: ${full.format(step.length)} imported decisions` : place >= 0 ? "Undone" : "Undone; the pair is not in this list");
}

function goOn() {
  const next = nextUndecided(at);
  if (next < 0) return say("Every pair of this list is decided.");
  say("");
  return goTo(next);
}

function rename() {
  const name = cleanName(el("reviewer").value);
  if (!name && el("reviewer").value.trim()) return say(`Please give a name of 1 to ${data.max_name_chars} letters.`, "bad");
  keepStep();
  reviewer = name;
  return keep();
}

function exportNow() {
  const { left } = tally();
  if (left === N && !data.kept.length) return say("There is nothing to export yet.");
  if (!reviewer) {
    el("reviewer").focus();
    return say("Give your name first: it goes into the file.", "bad");
  }
  const name = exportFile();
  unexported = false;
  return say(`Exported ${many(N - left + data.kept.length, "decision", "decisions")} to ${name}, among your downloads.`, "good");
}

// -- Import --------------------------------------------------------------------------------------------------

async function importFile(file) {
  if (!file) return;
  try {
    if (file.size > MAX_FILE_BYTES) throw new Refused("it is too large");
    await merge(readDocument(await file.text()));
  } catch (error) {
    say(`${file.name} was not imported: ${error instanceof Refused ? error.message : "it could not be read"}.`, "bad");
  }
}

/** Decisions of the file where there are none here; where both differ, the person says which count. */
async function merge(read) {
  keepStep();
  const both = [...read.found].filter(([i, choice]) => choices[i] !== NONE && choices[i] !== choice);
  let chosen = "";
  if (both.length) {
    el("differ-words").textContent = `${many(both.length, "decision in the file differs from the one", "decisions in the file differ from those")} here. Which count?`;
    chosen = await ask(el("differ"));
    if (!chosen) return say("Nothing was imported.");
  }
  const fresh = [...read.found].filter(([i]) => choices[i] === NONE);
  const changes = [...fresh, ...chosen === "file" ? both : []];
  if (changes.length) change(changes);
  reviewer ||= read.reviewer;
  keep();
  return say(importWords(read, fresh.length, both.length, chosen), "good");
}

function importWords(read, fresh, both, chosen) {
  const sentences = [`Imported ${many(fresh, "decision", "decisions")}`];
  if (both) sentences.push(`${full.format(both)} that differed ${chosen === "file" ? "were taken from the file" : "were kept as they are here"}`);
  if (read.strange) sentences.push(`${full.format(read.strange)} on pairs that are not here were left out`);
  if (read.unusable) sentences.push(`${many(read.unusable, "entry", "entries")} that cannot be read left out`);
  return `${sentences.join("; ")}.`;
}

/** A choice between buttons; resolves to the value of the one taken, "" if none was. */
function ask(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
    dialog.showModal();
  });
}

// -- Start ---------------------------------------------------------------------------------------------------

/** Calls an action once a frame, however often it is asked for. */
function eachFrame(action) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; action(); });
  };
}

function listen() {
  const clicks = { undo, export: exportNow, "next-open": goOn, "show-help": () => el("help").showModal(), "close-help": () => el("help").close(), reset: () => { resetFilters(); update(); } };
  for (const [id, action] of Object.entries(clicks)) el(id).addEventListener("click", () => action());
  for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => el("differ").close(button.dataset.choice));
  for (const button of document.querySelectorAll("[data-at]")) button.addEventListener("click", () => setThreshold(data.thresholds[button.dataset.at]));
  el("score").addEventListener("input", eachFrame(() => setThreshold(Number(el("score").value))));
  el("score-number").addEventListener("change", () => { if (el("score-number").value !== "") setThreshold(Number(el("score-number").value)); });
  for (const id of ["by-set", "by-level", "by-verdict", "by-decision", "by-view", "by-score", "order"]) el(id).addEventListener("change", update);
  el("by-text").addEventListener("input", eachFrame(update));
  el("reviewer").addEventListener("change", rename);
  el("import").addEventListener("change", () => importFile(el("import").files[0]).then(() => { el("import").value = ""; }));
  addEventListener("keydown", onKey);
  addEventListener("scroll", eachFrame(followScroll), { passive: true });
  addEventListener("resize", eachFrame(redraw));
  addEventListener("storage", (event) => { if (event.key === ENTRY) { keepStep(); show(); } });
  addEventListener("beforeunload", (event) => { if (storageFails && unexported) event.preventDefault(); });
}

/** While the file is still read, a picture may be further down. */
function waitForPictures() {
  const timer = setInterval(redraw, 500);
  document.addEventListener("DOMContentLoaded", () => {
    clearInterval(timer);
    el("cut-off").hidden = Boolean(el("end"));
    redraw();
  });
}

const problem = takeOver();
if (problem) say(problem, "bad");
fillFilters();
fillSlider();
fillHelp();
listen();
update();
setThreshold(REPORT);
show();
waitForPictures();
