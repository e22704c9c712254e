// The commands, and what starts them: keys, buttons, other tabs.
let unexported = false;  // answers that would be gone with the page where the storage fails

function keep() {
  unexported = true;
  save();
}

/** Lets other tabs' changes in before one of ours. */
function keepStep() {
  const { problem } = takeOver();
  if (problem) say(problem, "bad");
}

function give(answer) {
  if (at >= N || busy) return;
  keepStep();
  const before = answers[at], asked = at;
  if (before !== answer) change([[at, answer]]);
  if (!before) countAnswer();
  at = before ? at + 1 : nextUnanswered(at);
  keep();
  say(`${before && before !== answer ? `Changed from ${before} to` : "Answered"} ${answer}: ${questions[asked].name}`, answer);
  show();
}

function undo() {
  keepStep();
  const step = takeBack();
  if (!step) return say("There is nothing to undo.");
  if (step.before.length === 1 && !step.before[0][1]) uncountAnswer();
  keep();
  show();
  const [[, before]] = step.before;
  return say(step.before.length > 1 ? `Undone: ${full.format(step.before.length)} imported answers`
    : before ? `Undone: it is ${before} again` : "Undone: it is open again");
}

function goTo(i) {
  at = Math.max(0, Math.min(N, i));
  savePlace();
  show();
}

function move(by) {
  say("");
  goTo(at + by);
}

function goOn() {
  const next = nextUnanswered(at);
  say(next === N ? "Every question is answered." : "");
  goTo(next);
}

function review() {
  const next = nextWhere((answer) => answer === "unsure", at);
  if (next === N) return say("No answer is unsure.");
  say("");
  return goTo(next);
}

function exportNow() {
  const { left } = tally();
  if (left === N) return say("There is nothing to export yet.");
  const name = exportFile();
  unexported = false;
  return say(`Exported ${many(N - left, "answer", "answers")} to ${name}, among your downloads.`, "good");
}

function help() {
  el("help").showModal();
}

// -- Import --------------------------------------------------------------------------------------------------

async function importFile(file) {
  if (!file) return;
  try {
    if (file.size > MAX_FILE_BYTES) throw new Refused("it is too large");
    const found = readDocument(await file.text());
    if (annotator && found.annotator !== annotator) {
      throw new Refused(`it holds the answers of ${found.annotator}, and you are ${annotator}. Answers of two people are compared, so they must not be mixed`);
    }
    if (!annotator) begin(found.annotator);
    await merge(found);
  } catch (error) {
    say(`${file.name} was not imported: ${error instanceof Refused ? error.message : "it could not be read"}.`, "bad");
  }
}

/** Answers of the file where there are none here; where both differ, the person says which count. */
async function merge(found) {
  keepStep();
  const both = [...found.answers].filter(([i, answer]) => answers[i] && answers[i] !== answer);
  let chosen = "";
  if (both.length) {
    el("differ-words").textContent = `${many(both.length, "answer in the file differs from the one", "answers in the file differ from those")} given here. Which count?`;
    chosen = await ask(el("differ"));
    if (!chosen) return say("Nothing was imported.");
  }
  const fresh = [...found.answers].filter(([i]) => !answers[i]);
  const changes = [...fresh, ...chosen === "file" ? both : []];
  if (changes.length) change(changes);
  if (at >= N || answers[at]) at = nextUnanswered(-1);
  keep();
  show();
  return say(importWords(found, fresh.length, both.length, chosen), "good");
}

function importWords(found, fresh, both, chosen) {
  const words = [`Imported ${many(fresh, "answer", "answers")}`];
  if (both) words.push(`${full.format(both)} that differed ${chosen === "file" ? "were taken from the file" : "were kept as they are here"}`);
  if (!found.sameSample) words.push(`the file answers an earlier or larger drawing, ${full.format(found.answers.size)} of its labels are here too`);
  if (found.strange) words.push(`${full.format(found.strange)} to labels that are not here were left out`);
  if (found.unusable) words.push(`${many(found.unusable, "entry", "entries")} that cannot be read left out`);
  return `${words.join("; ")}.`;
}

// -- Start ---------------------------------------------------------------------------------------------------

function begin(name) {
  annotator = name;
  answers = new Array(N).fill("");
  steps = [];
  stored = null;
  times = [];
  lastAt = null;
  rememberAnnotator(name);
  const { problem } = takeOver();
  at = savedPlace();
  say(problem, problem && "bad");
  show();
}

/** Back to the question who is answering. */
function leave() {
  if (storageFails && unexported) return say("Export the answers first: they would be gone.", "bad");
  annotator = "";
  turn++;
  rememberAnnotator("");
  say("");
  return askName();
}

function askName() {
  showView("start");
  const known = knownAnnotators();
  el("known").hidden = !known.length;
  el("known-names").replaceChildren(...known.map((name) => make("button", { type: "button", onclick: () => begin(name) }, make("bdi", {}, name))));
  el("name").value = "";
  el("name").focus({ preventScroll: true });
}

function startWithName(event) {
  event.preventDefault();
  const name = cleanName(el("name").value);
  el("name").setAttribute("aria-invalid", !name);
  if (!name) return say(`Please give a name of 1 to ${data.max_name_chars} letters.`, "bad");
  return begin(name);
}

function start() {
  const clicks = {
    undo, previous: () => move(-1), next: () => move(1), export: exportNow, "show-help": help, leave, "to-open": goOn,
    "to-unsure": review, "export-done": exportNow, "back-done": () => move(-1), "close-help": () => el("help").close(),
  };
  for (const [id, action] of Object.entries(clicks)) el(id).addEventListener("click", () => action());
  for (const button of document.querySelectorAll("[data-answer]")) button.addEventListener("click", () => give(button.dataset.answer));
  for (const button of document.querySelectorAll("[data-choice]")) button.addEventListener("click", () => el("differ").close(button.dataset.choice));
  for (const picker of document.querySelectorAll("input[type=file]")) {
    picker.addEventListener("change", () => importFile(picker.files[0]).then(() => { picker.value = ""; }));
  }
  el("who").addEventListener("submit", startWithName);
  addEventListener("keydown", onKey);
  addEventListener("storage", (event) => {
    if (!annotator || event.key !== ENTRY + annotator || !takeOver().changed) return;
    drawProgress();
    if (at < N) markAnswer();
    else showDone();
  });
  addEventListener("beforeunload", (event) => { if (storageFails && unexported) event.preventDefault(); });
  startStage();
  fillHelp();
}

/** While the file is still read, a picture may be further down. */
function waitForPictures() {
  const again = () => { if (annotator && at < N && !current && busy && questions[at].picture >= 0 && !images.get(questions[at].picture)) showPicture(at); };
  const timer = setInterval(again, 50);
  document.addEventListener("DOMContentLoaded", () => {
    clearInterval(timer);
    el("cut-off").hidden = Boolean(el("end"));
    again();
    if (annotator) lookAhead();
  });
}

start();
waitForPictures();
const last = lastAnnotator();
if (last) begin(last);
else askName();
document.documentElement.dataset.readyMs = Math.round(performance.now());
