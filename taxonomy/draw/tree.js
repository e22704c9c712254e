// The tree: rows are made for what is in view only, so a branch of any size opens at once. A row is a place: a
// category with several parents has one under each.
const ROW_PX = 28;
const treeBox = el("tree"), rowsBox = el("rows");
let rows = [], active = 0, picked = null, onPick = () => {}, onMove = () => {};

const rowOf = (c, depth, at, of) => ({ c, depth, at, of, open: false });
const isBranch = (row) => children.of(row.c).length > 0;

function setOpen(i, open) {
  const row = rows[i];
  if (row.open === open || !isBranch(row)) return;
  row.open = open;
  if (open) {
    const below = Array.from(children.of(row.c), (c, at, all) => rowOf(c, row.depth + 1, at + 1, children.of(row.c).length));
    rows = rows.slice(0, i + 1).concat(below, rows.slice(i + 1));
    if (active > i) active += below.length;
  } else {
    const end = endOf(i);
    if (active > i) active = active < end ? i : active - (end - i - 1);
    rows.splice(i + 1, end - i - 1);
  }
}

/** The first row that is not below row `i`. */
function endOf(i) {
  let end = i + 1;
  while (end < rows.length && rows[end].depth > rows[i].depth) end++;
  return end;
}

const rowParent = (i) => {
  let up = i - 1;
  while (up >= 0 && rows[up].depth >= rows[i].depth) up--;
  return up;
};

/** The categories from the root down to row `i`. */
function rowPath(i) {
  const path = [];
  for (let up = i; up >= 0; up = rowParent(up)) path.push(rows[up].c);
  return path.reverse();
}

/** Opens a path and makes its end the active row. */
function reveal(path) {
  let i = -1;
  for (const c of path) {
    if (i >= 0) setOpen(i, true);
    const depth = i < 0 ? 0 : rows[i].depth + 1;
    for (i += 1; rows[i].c !== c || rows[i].depth !== depth;) i++;
  }
  active = i;
  scrollTo(i, true);
}

function scrollTo(i, centre) {
  const top = i * ROW_PX, view = treeBox.clientHeight;
  rowsBox.style.height = `${rows.length * ROW_PX}px`;
  if (top < treeBox.scrollTop || top + ROW_PX > treeBox.scrollTop + view) {
    const above = centre ? (view - ROW_PX) / 2 : top < treeBox.scrollTop ? 0 : view - ROW_PX;
    treeBox.scrollTop = Math.max(0, top - above);
  }
  drawRows();
}

function drawRows() {
  rowsBox.style.height = `${rows.length * ROW_PX}px`;
  const first = Math.max(0, Math.floor(treeBox.scrollTop / ROW_PX) - 4);
  const last = Math.min(rows.length, Math.ceil((treeBox.scrollTop + treeBox.clientHeight) / ROW_PX) + 4);
  const made = [];
  for (let i = first; i < last; i++) made.push(drawRow(i));
  if (active < first || active >= last) made.push(drawRow(active));  // the one that aria-activedescendant names
  rowsBox.replaceChildren(...made);
  treeBox.setAttribute("aria-activedescendant", `row-${active}`);
}

function drawRow(i) {
  const row = rows[i], c = row.c, branch = isBranch(row);
  const made = make("div", {
    class: `row${COUNTED && !data.expanded[c] ? " empty" : ""}`, role: "treeitem", id: `row-${i}`, "data-row": i,
    "aria-level": row.depth + 1, "aria-posinset": row.at, "aria-setsize": row.of, "aria-selected": i === active,
  });
  if (branch) made.setAttribute("aria-expanded", row.open);
  made.style.transform = `translateY(${i * ROW_PX}px)`;
  const name = make("span", { class: "name", title: nameOf(c) }, nameOf(c));
  const cell = make("span", { class: "cell" }, make("i", { class: branch ? "twist" : "twist leaf" }), dot(c), name);
  cell.style.paddingLeft = `${8 + 13 * Math.min(row.depth, 4) + 5 * Math.max(0, row.depth - 4)}px`;
  const up = parentsOf(c);
  if (up.length > 1) {
    const title = `also under ${up.filter((p) => p !== rowParentOf(i)).map(nameOf).join(", ")}: go there`;
    cell.append(make("span", { class: "places", title, "data-places": "" }, `${up.length}\u2191`));
  }
  made.append(cell, bar(c));
  if (COUNTED) {
    made.append(make("span", { class: "figure", title: full.format(data.asserted[c]) }, count(data.asserted[c])));
    made.append(make("span", { class: "figure" }, branch ? count(data.below[c]) : ""));
  }
  return made;
}

const rowParentOf = (i) => rowParent(i) < 0 ? -1 : rows[rowParent(i)].c;

function dot(c) {
  const made = make("i", { class: "dot" });
  made.style.background = colourOf(c);
  return made;
}

/** The bar of a row: images with ancestors, or categories below, on a log scale. */
function bar(c) {
  const size = sizeOf(c);
  if (!size && !COUNTED) return make("span");
  const fill = make("i");
  fill.style.width = `${100 * Math.log1p(size) / Math.log1p(LARGEST)}%`;
  fill.style.background = colourOf(c);
  return make("span", { class: "bar", title: full.format(size) }, fill, make("b", {}, count(size)));
}

/** The next place of the category of row `i`. */
function nextPlace(i) {
  const up = parentsOf(rows[i].c);
  const next = up[(up.indexOf(rowParentOf(i)) + 1) % up.length];
  onPick(rows[i].c, pathTo(rows[i].c, next));
}

function moveTo(i) {
  active = Math.max(0, Math.min(rows.length - 1, i));
  scrollTo(active, false);
  onMove(rows[active].c);
}

/** Chooses row `i` and opens it; choosing it again closes it. */
function pick(i) {
  const again = rows[i] === picked && rows[i].open;
  active = i;
  picked = rows[i];
  setOpen(i, !again);
  onPick(rows[i].c, rowPath(i));
}

/** Keys of the tree, as the ARIA authoring practices have them. */
function treeKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const row = rows[active], page = Math.max(1, Math.floor(treeBox.clientHeight / ROW_PX) - 1);
  const keys = {
    ArrowDown: () => moveTo(active + 1),
    ArrowUp: () => moveTo(active - 1),
    PageDown: () => moveTo(active + page),
    PageUp: () => moveTo(active - page),
    Home: () => moveTo(0),
    End: () => moveTo(rows.length - 1),
    ArrowRight: () => row.open ? moveTo(active + 1) : (setOpen(active, true), drawRows()),
    ArrowLeft: () => row.open ? (setOpen(active, false), drawRows()) : moveTo(rowParent(active)),
    Enter: () => pick(active),
    " ": () => pick(active),
    "*": openBeside,
  };
  if (Object.hasOwn(keys, event.key)) keys[event.key]();
  else if (event.key.length === 1 && event.key !== "/") jumpToLetter(event.key.toLowerCase());
  else return;
  event.preventDefault();
}

function openBeside() {
  const up = rowParent(active), depth = rows[active].depth;
  for (let i = rows.length - 1; i > up; i--) {
    if (rows[i].depth === depth && rowParent(i) === up) setOpen(i, true);
  }
  scrollTo(active, false);
}

function jumpToLetter(letter) {
  for (let step = 1; step <= rows.length; step++) {
    const i = (active + step) % rows.length;
    if (nameOf(rows[i].c).toLowerCase().startsWith(letter)) return moveTo(i);
  }
}

function treeClick(event) {
  const made = event.target.closest("[data-row]");
  if (!made) return;
  const i = Number(made.dataset.row);
  if (event.target.closest("[data-places]")) nextPlace(i);
  else if (event.target.closest(".twist:not(.leaf)")) {
    setOpen(i, !rows[i].open);
    drawRows();
  } else pick(i);
}

function startTree(whenPicked, whenMoved) {
  onPick = whenPicked;
  onMove = whenMoved;
  rows = roots.map((c, i) => rowOf(c, 0, i + 1, roots.length));
  for (let i = 0; i >= 0 && rows.length < 12; i = rows.findIndex((row) => !row.open && isBranch(row))) setOpen(i, true);
  treeBox.addEventListener("scroll", () => requestAnimationFrame(drawRows), { passive: true });
  treeBox.addEventListener("keydown", treeKey);
  rowsBox.addEventListener("click", treeClick);
  new ResizeObserver(drawRows).observe(treeBox);
  drawRows();
}
