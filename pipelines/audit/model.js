// What is asked and what has been answered. Every change is one step that can be taken back; nothing here draws.
const data = JSON.parse(el("data").textContent);
const N = data.questions.length;
const ANSWERS = ["yes", "no", "unsure"];
const questions = data.questions.map(([id, category, picture, uri]) => {
  const [name, definition, synonyms, path] = data.categories[category];
  return { id, picture, uri, name, definition, synonyms, path };
});
const positionOf = new Map(questions.map((question, i) => [question.id, i]));

let annotator = "";
let at = 0;  // the question in view; N is the page after the last one
let answers = new Array(N).fill("");
let steps = [];  // {at, before: [[question, its answer before], ...]}, the newest last

/** Gives questions their answers in one step: [[question, answer], ...]. */
function change(changes) {
  steps.push({ at, before: changes.map(([i]) => [i, answers[i]]) });
  for (const [i, answer] of changes) answers[i] = answer;
}

/** Takes the last step back: its answers are as they were, and its question is in view. Null: there is none. */
function takeBack() {
  const step = steps.pop();
  if (!step) return null;
  for (const [i, answer] of step.before) answers[i] = answer;
  at = step.at;
  return step;
}

/** The next question after `from` that passes, from the first again after the last; N where none does. */
function nextWhere(passes, from) {
  for (let step = 1; step <= N; step++) {
    const i = (from + step) % N;
    if (passes(answers[i])) return i;
  }
  return N;
}
const nextUnanswered = (from) => nextWhere((answer) => !answer, from);

function tally() {
  const counts = { yes: 0, no: 0, unsure: 0, left: 0 };
  for (const answer of answers) counts[answer || "left"]++;
  return counts;
}

/** An annotator's name in its one spelling; "" for what is none. `answers.py` has the same rule. */
const cleanName = (text) => cleanNameOf(text, data.max_name_chars);
