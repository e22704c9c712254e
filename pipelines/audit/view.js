// What is in view: the start, a question, or the page after the last one. Texts of strangers are set as text.
const views = ["start", "work", "done"];
let seen = "";  // the category that was asked for before, to mark a new one

function showView(name) {
  for (const view of views) el(view).hidden = view !== name;
  document.body.dataset.view = name;
}

/** A line that says what has happened; it stays until something else does. */
function say(text, kind = "") {
  el("message").textContent = text;
  el("message").dataset.kind = kind;
}

function show() {
  drawProgress();
  el("annotator").textContent = annotator;
  if (at >= N) return showDone();
  showView("work");
  drawQuestion(questions[at]);
  markAnswer();
  showPicture(at);
  lookAhead();
}

function drawQuestion(question) {
  el("position").textContent = `${full.format(at + 1)} of ${full.format(N)}`;
  el("category").textContent = question.name;
  el("question").classList.toggle("new", seen !== "" && seen !== question.name);
  seen = question.name;
  el("definition").textContent = question.definition;
  el("definition").hidden = !question.definition;
  el("synonyms").replaceChildren(...commas(question.synonyms));
  el("also").hidden = !question.synonyms.length;
  el("path").replaceChildren(...[...question.path].reverse().map((name) => make("li", {}, make("bdi", {}, name))));
  el("kind").hidden = !question.path.length;
  el("uri").textContent = question.uri;
  el("address").hidden = !question.uri || question.picture < 0;
  el("address").open = false;  // a file's name often tells the answer that somebody else gave
  el("words").scrollTop = 0;
}

const commas = (names) => names.flatMap((name, i) => [i ? ", " : "", make("bdi", {}, name)]);

/** Only the buttons: what an answer from another tab changes. */
function markAnswer() {
  const given = answers[at];
  for (const button of document.querySelectorAll("[data-answer]")) button.setAttribute("aria-pressed", button.dataset.answer === given);
  el("work").classList.toggle("answered", Boolean(given));
  el("undo").disabled = !steps.length;
  el("previous").disabled = at === 0;
}

function showDone() {
  turn++;  // a picture that is still on its way is not waited for
  seen = "";
  showView("done");
  const counts = tally();
  const open = counts.left > 0;
  el("done-title").textContent = open ? `${many(counts.left, "question is", "questions are")} still open` : `All ${full.format(N)} answered`;
  el("done-words").textContent = open
    ? "This is the end of the list. The questions that you passed over are waiting."
    : "Thank you. Export the answers now and hand the file over; they stay in this browser as well.";
  el("to-open").hidden = !open;
  el("to-unsure").hidden = !counts.unsure;
  el("unsure-count").textContent = many(counts.unsure, "unsure one", "unsure ones");
  el("done").classList.toggle("whole", !open);
}

/** A choice between buttons; resolves to the value of the one taken, "" if none was. */
function ask(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
    dialog.showModal();
  });
}
