// The stage: one picture, as large as there is room, or magnified and dragged about. It is busy until the picture has
// been seen for a moment; what is answered before that was meant for another one.
const MIN_LOOK_MS = 150;  // nobody judges faster: this is a key that bounces, or a double click
const MOST_ENLARGED = 4;  // beyond that there is only blur
const stage = el("stage");
let current = null, zoomed = false, busy = true, turn = 0, drag = null;

function showPicture(i) {
  const question = questions[i], mine = ++turn;
  zoomed = false;
  setBusy(true);
  if (question.picture < 0) return showNone(question, mine, "There is no copy of this picture.");
  const image = imageOf(question.picture);
  if (image && image.state === "ready") return showImage(image, mine);
  current = null;
  stage.replaceChildren(make("p", { class: "note" }, "The picture is on its way"));
  if (!image) return undefined;  // `main.js` comes back when more of the file is there
  return image.whenDone.then(() => {
    if (mine !== turn) return;
    if (image.state === "ready") showImage(image, mine);
    else showNone(question, mine, "This picture is damaged and cannot be shown.");
  });
}

function showImage(image, mine) {
  current = image.element;
  stage.replaceChildren(current);
  fit();
  stage.scrollTo(0, 0);
  openSoon(mine);
}

function showNone(question, mine, why) {
  current = null;
  const address = question.uri ? [make("p", {}, "It was found at"), make("code", {}, question.uri)] : [];
  stage.replaceChildren(make("div", { class: "note" }, make("p", {}, why), ...address, make("p", {}, "If you cannot see it, answer unsure.")));
  openSoon(mine);
}

const setBusy = (value) => {
  busy = value;
  stage.setAttribute("aria-busy", value);
};
function openSoon(mine) {
  setTimeout(() => { if (mine === turn) setBusy(false); }, MIN_LOOK_MS);
}

const fitScale = (width, height) => Math.min(
  stage.clientWidth / width, stage.clientHeight / height, MOST_ENLARGED);
/** Actual pixels, or twice the fitted size where that shows more. */
const zoomScale = (fitted) => Math.max(1, fitted >= 0.8 ? 2 * fitted : 1);

function fit() {
  if (!current) return;
  const width = current.naturalWidth, height = current.naturalHeight;
  const fitted = fitScale(width, height), scale = zoomed ? zoomScale(fitted) : fitted;
  current.style.width = `${Math.max(1, Math.floor(width * scale))}px`;
  current.style.height = `${Math.max(1, Math.floor(height * scale))}px`;
  stage.classList.toggle("zoomed", zoomed);
  el("scale").textContent = zoomed ? (scale === 1 ? "actual pixels" : `${Math.round(100 * scale)} %`) : "";
  el("scale").hidden = !zoomed;
}

/** Magnifies about a point of the stage, its middle if none is given, or fits again. */
function zoom(x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  if (!current) return;
  const before = current.getBoundingClientRect(), box = stage.getBoundingClientRect();
  const across = (box.left + x - before.left) / before.width, down = (box.top + y - before.top) / before.height;
  zoomed = !zoomed;
  fit();
  if (zoomed) stage.scrollTo(across * current.offsetWidth - x, down * current.offsetHeight - y);
}

/** Moves the magnified picture by a quarter of the stage. */
function pan(across, down) {
  stage.scrollBy(across * stage.clientWidth / 4, down * stage.clientHeight / 4);
}

function startStage() {
  stage.addEventListener("pointerdown", (event) => {
    drag = event.button === 0 ? { x: event.clientX, y: event.clientY, left: stage.scrollLeft, top: stage.scrollTop, far: false } : null;
  });
  stage.addEventListener("pointermove", (event) => {
    if (!drag || !(event.buttons & 1) || event.pointerType !== "mouse") return;
    const x = event.clientX - drag.x, y = event.clientY - drag.y;
    drag.far ||= Math.hypot(x, y) > 4;
    if (zoomed && drag.far) stage.scrollTo(drag.left - x, drag.top - y);
  });
  stage.addEventListener("click", (event) => {
    if (event.target !== current || (drag && drag.far)) return;
    const box = stage.getBoundingClientRect();
    zoom(event.clientX - box.left, event.clientY - box.top);
  });
  new ResizeObserver(fit).observe(stage);
}
