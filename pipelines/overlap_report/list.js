// The list: of ten thousand rows only those in view, and a few around them, are in the document.
const AROUND = 3;  // rows kept above and below what is in view
let at = 0;        // place in the list of the pair that keys decide
let flip = "";     // "", or which of the two pictures is shown on the one place: "training" or "eval"
const made = new Map();  // row by its place
let rowHeight = 0;

const current = () => listing.length ? listing[at] : NONE;

/** Draws the rows in view; the others leave the document. */
function drawRows() {
  const list = el("list"), top = list.getBoundingClientRect().top;
  const first = Math.max(0, Math.floor(-top / rowHeight) - AROUND);
  const last = Math.min(listing.length - 1, Math.ceil((innerHeight - top) / rowHeight) + AROUND);
  for (const [place, row] of made) {
    if (place >= first && place <= last) continue;
    if (row.contains(document.activeElement)) list.focus({ preventScroll: true });
    row.remove();
    made.delete(place);
  }
  for (let place = first; place <= last; place++) {
    if (made.has(place)) continue;
    const row = makeRow(place);
    row.style.top = `${place * rowHeight}px`;
    made.set(place, row);
    const next = made.get(place + 1);
    if (next) list.insertBefore(row, next);
    else list.append(row);
  }
}

/** All of the list anew, after a filter, an order or the window's size has changed. */
function redraw() {
  made.clear();
  const list = el("list");
  list.replaceChildren();
  rowHeight = parseFloat(getComputedStyle(list).getPropertyValue("--row"));
  list.style.height = `${listing.length * rowHeight}px`;
  el("empty").hidden = listing.length > 0;
  el("listed").textContent = `${full.format(listing.length)} of ${many(N, "pair", "pairs")}`;
  drawRows();
}

function markRows() {
  for (const [place, row] of made) markRow(row, listing[place], place);
}

/** Makes a pair the one that keys decide, and brings it into view. */
function goTo(place, { scroll = true, focus = true } = {}) {
  if (!listing.length) return;
  const next = Math.max(0, Math.min(listing.length - 1, place));
  if (next !== at) setFlip("");
  at = next;
  if (scroll) reveal(at);
  drawRows();
  markRows();
  if (focus) (made.get(at) ?? el("list")).focus({ preventScroll: true });
}

/** Where rows can be seen: below the bars, above the line of messages. */
function windowOfRows() {
  const bars = el("bars");
  return { from: getComputedStyle(bars).position === "sticky" ? bars.offsetHeight : 0, to: innerHeight - el("message").offsetHeight };
}
const topOf = (place) => el("list").getBoundingClientRect().top + place * rowHeight;

/** How much of a row is in view, 0 to 1. */
function seenOf(place) {
  const { from, to } = windowOfRows(), top = topOf(place);
  return Math.max(0, Math.min(to, top + rowHeight) - Math.max(from, top)) / rowHeight;
}

/** Scrolls so that a row lies whole in view. */
function reveal(place) {
  const { from, to } = windowOfRows(), top = topOf(place);
  if (top < from) scrollBy(0, top - from - 8);
  else if (top + rowHeight > to) scrollBy(0, Math.min(top - from - 8, top + rowHeight - to + 8));
}

/** Who scrolls away from the current pair takes the first one that can be seen whole. */
function followScroll() {
  drawRows();
  if (!listing.length || seenOf(at) > 0) return;
  const place = Math.max(0, Math.ceil((windowOfRows().from - topOf(0)) / rowHeight));
  if (place < listing.length && seenOf(place) > 0) goTo(place, { scroll: false, focus: el("list").contains(document.activeElement) });
}

/** The next pair of the list without a decision, from the first again after the last; -1 where all have one. */
function nextUndecided(from) {
  for (let step = 1; step <= listing.length; step++) {
    const place = (from + step) % listing.length;
    if (choices[listing[place]] === NONE) return place;
  }
  return -1;
}

/** Filters and sorts anew; the pair that was current stays so where it is still listed. */
function update() {
  const before = current();
  relist();
  const place = listing.indexOf(before);
  at = Math.max(0, place);
  if (place < 0) setFlip("");
  redraw();
}

// -- Both pictures on one place ------------------------------------------------------------------------------
const BLINK_MS = 600;
let blinking = 0;

function setFlip(which) {
  if (!which) {
    clearInterval(blinking);
    blinking = 0;
  }
  flip = which;
  const row = made.get(at);
  if (row) row.dataset.flip = flip;
}

const otherPicture = () => setFlip(flip === "eval" ? "training" : "eval");

function blink() {
  const was = blinking;
  setFlip("");
  if (was || !listing.length) return;
  otherPicture();
  blinking = setInterval(otherPicture, BLINK_MS);
}
