// One pair as a row: both pictures, what is known of them, and the three answers. Texts of strangers are set as text.
const LABELS_SHOWN = 12;

function makeRow(place) {
  const i = listing[place], [set, id, path, hasEval] = evalOf(i), [key, , , hasImage] = imageOf(i);
  const row = make("article", { class: "row", id: `row${i}`, tabindex: "-1", "aria-posinset": place + 1, "aria-setsize": listing.length, "aria-label": `Pair ${place + 1}: training image ${key}, ${data.sets[set][0]} ${id}` });
  row.append(
    make("div", { class: "pictures" }, figure("training", `t${pairs.image[i]}`, hasImage, "training image"), figure("eval", `e${pairs.eval[i]}`, hasEval, "evaluation image")),
    make("div", { class: "facts" }, make("div", { class: "texts" }, ...scoreLines(i), evalLine(set, id, path), ...trainingLines(i)), answerButtons(i, place)),
  );
  row.classList.toggle("mirrored", viewOf(i).includes("mirror"));
  row.addEventListener("pointerdown", () => goTo(place, { scroll: false }));
  markRow(row, i, place);
  return row;
}

function scoreLines(i) {
  const level = LEVELS[pairs.level[i]], [verdict, words] = verdictOf(i);
  const fact = (name, value) => make("span", { class: "fact" }, `${name} `, make("b", {}, value));
  return [
    make("p", { class: "scores" },
      fact("score", pairs.score[i].toFixed(4)), fact("similarity", pairs.similarity[i].toFixed(4)), ...agreement(i, fact),
      make("span", { class: `chip ${level}` }, level),
      make("span", { class: `chip ${verdict}` }, words),
      make("span", { class: "chip" }, ["kept", "left out for another pair", "left out"][pairs.removed[i]])),
    make("p", { class: "soft" }, "view ", make("bdi", {}, viewOf(i)), transformOf(i) ? " \u00b7 " : "", make("bdi", {}, transformOf(i))),
  ];
}

/** [class, words] of the build's verdict on a pair. */
function verdictOf(i) {
  if (pairs.ssim[i] === null) return ["plain", "pictures not compared"];
  return { [VERIFIED]: ["verified", "verified"], [ALIKE]: ["alike", "alike, not verified"], [NEITHER]: ["plain", "neither alike nor verified"] }[pairs.verdict[i]];
}

/** How well the aligned pictures agree: in the mean, and what three quarters of the picture reach. */
function agreement(i, fact) {
  if (pairs.ssim[i] === null) return [];
  return [fact("SSIM mean", pairs.ssim[i].toFixed(2)), fact("three quarters reach", pairs.ssim_low[i].toFixed(2))];
}

function evalLine(set, id, path) {
  const line = make("p", {}, make("span", { class: "soft" }, "evaluation "), make("bdi", {}, data.sets[set][0]), " ", make("code", {}, id));
  if (path) line.append(" ", make("code", { class: "soft" }, path));
  return line;
}

function trainingLines(i) {
  const [key, uri, labels] = imageOf(i);
  const shown = labels.slice(0, LABELS_SHOWN).flatMap((label, k) => [k ? ", " : "", make("bdi", {}, data.labels[label])]);
  if (labels.length > LABELS_SHOWN) shown.push(` and ${full.format(labels.length - LABELS_SHOWN)} more`);
  const lines = [make("p", {}, make("span", { class: "soft" }, "training "), make("code", {}, key), uri ? " " : "", make("code", { class: "soft" }, uri))];
  if (labels.length) lines.push(make("p", { class: "labels" }, make("span", { class: "soft" }, "labels "), ...shown));
  return lines;
}

function answerButtons(i, place) {
  const keys = { copy: "y", different: "n", unsure: "u" };
  return make("div", { class: "answers", role: "group", "aria-label": "Decision" }, ...DECISIONS.map((name, choice) => make("button", {
    type: "button", class: "answer", "data-choice": name, "aria-pressed": "false", "aria-keyshortcuts": keys[name],
    onclick: () => { goTo(place, { scroll: false }); decide(choice); },
  }, `${name[0].toUpperCase()}${name.slice(1)} `, make("kbd", { "aria-hidden": "true" }, keys[name]))));
}

/** What changes on a row without its being made anew. */
function markRow(row, i, place) {
  const choice = choices[i] === NONE ? "" : DECISIONS[choices[i]];
  row.dataset.choice = choice;
  row.classList.toggle("below", pairs.score[i] < threshold);
  row.classList.toggle("current", place === at);
  row.tabIndex = place === at ? 0 : -1;
  if (place === at) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
  row.dataset.flip = place === at ? flip : "";
  for (const button of row.querySelectorAll(".answer")) button.setAttribute("aria-pressed", button.dataset.choice === choice);
}
