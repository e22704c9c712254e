// The picture: a sunburst of the branch chosen, on a canvas. Rings are levels; a click zooms, the middle goes up.
// A category with several parents stands at its first parent, so every slice is counted once.
const RINGS = 5;
const canvas = el("canvas"), tip = el("tip"), context = canvas.getContext("2d");
const calm = matchMedia("(prefers-reduced-motion: reduce)");
let sizes = mainSizes, focus = TOP, marked = TOP, hovered = -1, side = 0;
let view = null, moving = 0, onZoom = () => {};

const viewOf = (c) => ({
  x0: sizes.x0[c], x1: sizes.x1[c], level: level[c], rings: Math.max(1, Math.min(RINGS, sizes.levels[c])),
});
const shrinking = (rings) => rings - 0.035 * rings * rings;  // outer rings are a little narrower
/** The inner radius of a ring; ring 0 is the middle, ring `view.rings` the last one shown. */
function radiusOf(ring) {
  const share = ring <= 1 ? 0.22 * Math.max(0, ring) : 0.22 + 0.78 * shrinking(Math.min(ring - 1, view.rings)) / shrinking(view.rings);
  return (side / 2 - 1) * share;
}
const angleOf = (x) => 2 * Math.PI * Math.min(1, Math.max(0, (x - view.x0) / (view.x1 - view.x0 || 1))) - Math.PI / 2;

/**
 * Calls visit(c, ring, from, to) for every slice in view that is wide enough to be seen, and before them ground(c,
 * ring, from, to) for the arc of all children of c: what is too narrow to be drawn is not left blank.
 */
function eachSlice(visit, ground) {
  const waiting = [TOP];
  while (waiting.length) {
    const c = waiting.pop(), ring = level[c] - view.level;
    if (ring > view.rings || sizes.x1[c] <= view.x0 || sizes.x0[c] >= view.x1) continue;
    const from = angleOf(sizes.x0[c]), to = angleOf(sizes.x1[c]);
    // A slice above the branch in view spans the circle; below it, less than half a pixel is not seen.
    if (ring >= 0 && (to - from) * radiusOf(ring + 1) < 0.5) continue;
    if (ring > -1) visit(c, ring, from, to);
    const under = kept.of(c);
    if (under.length && ring + 1 > -1 && ring + 1 <= view.rings) {
      ground(c, ring + 1, angleOf(sizes.x0[under[0]]), angleOf(sizes.x1[under[under.length - 1]]));
    }
    for (const child of under) waiting.push(child);
  }
}

function slicePath(ring, from, to) {
  const inner = Math.max(0, radiusOf(ring)), outer = Math.max(inner, radiusOf(ring + 1) - 0.75);
  context.beginPath();
  context.arc(side / 2, side / 2, outer, from, to);
  if (inner > 0) context.arc(side / 2, side / 2, inner, to, from, true);
  else if (to - from < 2 * Math.PI - 1e-6) context.lineTo(side / 2, side / 2);
  context.closePath();
}

function drawPicture() {
  const style = getComputedStyle(document.documentElement), labels = [];
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.clearRect(0, 0, side, side);
  if (!side || !view) return;
  context.strokeStyle = style.getPropertyValue("--paper");
  eachSlice((c, ring, from, to) => {
    slicePath(ring, from, to);
    context.fillStyle = ring <= 0 && hue[c] < 0 ? style.getPropertyValue("--ground") : colourOf(c, Math.max(0, ring - 1), c === hovered);
    context.fill();
    const width = (to - from) * radiusOf(ring + 1);
    context.lineWidth = Math.min(1, width / 5);
    if (width > 2) context.stroke();
    if (ring > 0 && width > 12) labels.push([c, ring, from, to]);
  }, (c, ring, from, to) => {
    slicePath(ring, from, to);
    context.globalAlpha = 0.3;
    context.fillStyle = colourOf(c, Math.max(0, ring - 1));
    context.fill();
    context.globalAlpha = 1;
  });
  for (const label of labels) drawLabel(...label, style.getPropertyValue("--on-colour"));
  drawMark(style.getPropertyValue("--ink"));
  drawMiddle(style);
}

function drawLabel(c, ring, from, to, colour) {
  const middle = (from + to) / 2, radius = (radiusOf(ring) + radiusOf(ring + 1)) / 2;
  const thick = radiusOf(ring + 1) - radiusOf(ring), long = (to - from) * radius;
  // Along the ring a straight text may leave the arc by a quarter of the ring: chord^2 / 8r.
  const along = Math.min(0.85 * long, Math.sqrt(2 * radius * thick)), across = long > 12 ? thick - 8 : 0;
  const room = Math.max(along * (thick > 14), across);
  if (room < 20) return;
  context.save();
  context.translate(side / 2, side / 2);
  context.rotate(middle);
  context.translate(radius, 0);
  if (room === across ? Math.cos(middle) < 0 : Math.sin(middle) < 0) context.rotate(Math.PI);
  if (room !== across) context.rotate(-Math.PI / 2);
  context.fillStyle = colour;
  context.font = "11.5px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(fitting(nameOf(c), room), 0, 0);
  context.restore();
}

/** A text cut with "..." to so many pixels. */
function fitting(text, room) {
  const plain = Array.from(text.slice(0, 80)).join("");
  if (context.measureText(plain).width <= room) return plain;
  const letters = Array.from(plain);
  let low = 0, high = letters.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (context.measureText(letters.slice(0, middle).join("") + "\u2026").width <= room) low = middle;
    else high = middle - 1;
  }
  return low > 2 ? letters.slice(0, low).join("").trimEnd() + "\u2026" : "";
}

function drawMark(colour) {
  const ring = level[marked] - view.level;
  if (marked === focus || ring < 1 || ring > view.rings || sizes.x1[marked] <= view.x0 || sizes.x0[marked] >= view.x1) return;
  slicePath(ring, angleOf(sizes.x0[marked]), angleOf(sizes.x1[marked]));
  context.lineWidth = 2;
  context.strokeStyle = colour;
  context.stroke();
}

function drawMiddle(style) {
  const room = 2 * radiusOf(1) - 10, filled = hue[focus] >= 0;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillStyle = style.getPropertyValue(filled ? "--on-colour" : "--ink");
  context.font = "600 13.5px system-ui, sans-serif";
  context.fillText(fitting(nameOf(focus), room), side / 2, side / 2 - 8);
  context.font = "11.5px system-ui, sans-serif";
  context.fillStyle = style.getPropertyValue(filled ? "--on-colour" : "--soft");
  context.fillText(fitting(amountOf(focus), room), side / 2, side / 2 + 9);
}

const amountOf = (c) => sizes === byImages
  ? `${count(sizes.value[c])} label${sizes.value[c] === 1 ? "" : "s"}`
  : `${full.format(belowOf(c))} ${c === ALL ? "in all" : "below"}`;

function goTo(target) {
  const from = view, to = viewOf(target), begun = performance.now(), turn = ++moving;
  focus = target;
  if (!from || calm.matches || document.hidden) {
    view = to;
    drawPicture();
    return;
  }
  const step = (now) => {
    if (turn !== moving) return;
    const done = Math.min(1, Math.max(0, (now - begun) / 480)), t = done * done * (3 - 2 * done);
    view = Object.fromEntries(Object.keys(to).map((key) => [key, from[key] + (to[key] - from[key]) * t]));
    drawPicture();
    if (done < 1) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}

/** Shows a branch, or the branch of a leaf with the leaf marked. */
function showPicture(c) {
  marked = c;
  const up = firstParent(c);
  const target = kept.of(c).length || up === -1 ? c : up;
  drawCrumbs(target);
  canvas.setAttribute("aria-label", `Sunburst of ${nameOf(target)}: ${amountOf(target)}. The tree tells the same.`);
  if (target !== focus || !view) goTo(target);
  else drawPicture();
}

function markInPicture(c) {
  marked = c;
  drawPicture();
}

function drawCrumbs(c) {
  const path = pathTo(c);
  if (TOP === ALL && c !== ALL) path.unshift(ALL);
  el("crumbs").replaceChildren(...path.map((p, i) => make("button", {
    type: "button", ...(i === path.length - 1 ? { "aria-current": "true" } : {}), onclick: () => onZoom(p),
  }, nameOf(p))));
}

/** The slice at a point, or -1. */
function sliceAt(event) {
  const box = canvas.getBoundingClientRect();
  const x = event.clientX - box.left - side / 2, y = event.clientY - box.top - side / 2;
  const radius = Math.hypot(x, y), turn = (Math.atan2(y, x) + 2.5 * Math.PI) % (2 * Math.PI);
  let ring = 0;
  while (ring <= view.rings && radius > radiusOf(ring + 1)) ring++;
  if (ring > view.rings) return -1;
  const at = view.x0 + (view.x1 - view.x0) * turn / (2 * Math.PI);
  let c = focus;
  for (let step = 0; step < ring; step++) {
    const next = kept.of(c).find((child) => sizes.x0[child] <= at && at < sizes.x1[child]);
    if (next === undefined) return -1;
    c = next;
  }
  return c;
}

function hover(event) {
  const c = sliceAt(event);
  canvas.style.cursor = c < 0 || (c === focus && c === TOP) ? "" : "pointer";
  tip.hidden = c < 0;
  if (c >= 0) {
    const total = sizes.value[focus];
    const part = c !== focus && total ? `, ${share(sizes.value[c], total)} of ${nameOf(focus)}` : "";
    tip.replaceChildren(make("b", {}, nameOf(c)), make("span", {}, c === focus && c !== TOP ? `${amountOf(c)}; click: up` : amountOf(c) + part));
    const box = el("picture").getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX - box.left + 14, box.width - tip.offsetWidth - 4)}px`;
    tip.style.top = `${Math.min(event.clientY - box.top + 16, box.height - tip.offsetHeight - 4)}px`;
  }
  if (c !== hovered) {
    hovered = c;
    drawPicture();
  }
}

function pictureClick(event) {
  const c = sliceAt(event);
  if (c < 0) return;
  tip.hidden = true;
  const up = firstParent(c);
  onZoom(c !== focus ? c : up !== -1 ? up : TOP);
}

const share = (part, whole) => part && part < whole / 200 ? "< 1\u00a0%" : `${Math.round(100 * part / (whole || 1))}\u00a0%`;

function drawLegend() {
  const shown = branches.filter((b) => sizes.value[b] > 0).sort((a, b) => sizes.value[b] - sizes.value[a]).slice(0, 10);
  el("legend").replaceChildren(...shown.map((b) => make("button", { type: "button", onclick: () => onZoom(b) }, dot(b),
    make("span", { class: "name" }, nameOf(b)), make("small", {}, share(sizes.value[b], sizes.value[ALL])))));
  el("reading").textContent = (sizes === byImages
    ? "Area: asserted labels; an image with two labels counts twice. "
    : "Area: categories. ") + "Colour: the branches listed above. A category with several parents stands once, at its first.";
}

function weighBy(what) {
  sizes = what === "images" ? byImages : byCategories;
  view = viewOf(focus);
  drawLegend();
  drawPicture();
}

function startPicture(zoomed) {
  onZoom = zoomed;
  const chooser = document.querySelector(".switch");
  if (chooser) chooser.hidden = sizes !== byImages;  // not one image: there is nothing to choose
  canvas.addEventListener("pointermove", hover);
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; hovered = -1; drawPicture(); });
  canvas.addEventListener("click", pictureClick);
  for (const input of document.querySelectorAll("input[name=weight]")) input.addEventListener("change", () => weighBy(input.value));
  new ResizeObserver(() => {
    side = Math.floor(Math.min(el("picture").clientWidth, el("picture").clientHeight));
    canvas.style.width = canvas.style.height = `${side}px`;
    canvas.width = canvas.height = Math.round(side * devicePixelRatio);
    drawPicture();
  }).observe(el("picture"));
  darkly.addEventListener("change", () => { drawRows(); drawLegend(); drawPicture(); });
  drawLegend();
}
