// The page: details, the small plot, the address, and what happens when a category is chosen anywhere.
function link(c, path) {
  return make("button", { type: "button", class: "link", onclick: () => select(c, path) }, dot(c), make("span", { class: "name" }, nameOf(c)));
}

function drawDetails(c) {
  const parts = [make("h2", {}, nameOf(c))];
  if (c !== ALL && data.definitions[c]) parts.push(make("p", { class: "definition" }, data.definitions[c]));
  const list = make("dl");
  const say = (term, ...inside) => list.append(make("dt", {}, term), make("dd", {}, ...inside));
  if (c !== ALL) {
    say("id", make("code", {}, data.ids[c]));
    if (data.aliases[c]) say("also", ...data.aliases[c].map((id) => make("code", {}, id)));
    if (data.synonyms[c]) say("synonyms", data.synonyms[c].join(", "));
    if (COUNTED) say("images", `${full.format(data.expanded[c])}, of these ${full.format(data.asserted[c])} asserted`);
    say("below", many(data.below[c], "category", "categories"));
    say("depth", full.format(data.depth[c]));
  } else {
    say("below", many(N, "category", "categories"));
  }
  parts.push(list, ...places(c), ...largestBelow(c));
  el("details").replaceChildren(...parts);
}

/** Every way to a category by one of its parents, each a line of links. */
function places(c) {
  const up = parentsOf(c);
  if (!up.length) return [];
  const lines = up.map((p) => {
    const path = pathTo(c, p);
    return make("li", {}, ...path.map((at, i) => make("button", {
      type: "button", class: at === c ? "here" : "", onclick: () => select(at, path.slice(0, i + 1)),
    }, make("span", { class: "name" }, at === c ? "here" : nameOf(at)))));
  });
  return [make("h3", {}, up.length > 1 ? `${up.length} places` : "place"), make("ol", { class: "paths" }, ...lines)];
}

const SHOWN_BELOW = 12;
function largestBelow(c) {
  const under = children.of(c);
  if (!under.length) return [];
  const lines = Array.from(under.subarray(0, SHOWN_BELOW), (child) => make("li", {}, link(child, pathTo(child, c === ALL ? -1 : c)),
    make("small", {}, sizeOf(child) ? count(sizeOf(child)) : "")));
  const rest = under.length > SHOWN_BELOW ? [make("li", {}, make("small", {}, `and ${full.format(under.length - SHOWN_BELOW)} more`))] : [];
  return [make("h3", {}, many(under.length, ...c === ALL ? ["root", "roots"] : ["child", "children"])), make("ol", { class: "under" }, ...lines, ...rest)];
}

/** Chooses a category: the tree opens there, the picture zooms, details and address follow. */
function select(c, path = pathTo(c)) {
  if (c !== ALL) reveal(path);
  drawDetails(c);
  showPicture(c);
  try {
    history.replaceState(null, "", c === ALL ? location.pathname + location.search : `#${encodeURIComponent(idOf(c))}`);
  } catch { /* Safari allows a hundred a half minute: the address stays behind, nothing else */ }
}

/** The category that the address names by id or further id, or TOP. */
function addressed() {
  let id = location.hash.slice(1);
  try {
    id = decodeURIComponent(id);
  } catch { /* as it stands */ }
  if (!id) return TOP;
  const c = data.ids.indexOf(id);
  if (c >= 0) return c;
  const other = data.aliases.findIndex((ids) => ids && ids.includes(id));
  return other >= 0 ? other : TOP;
}

/** With counts the paper's long tail, both axes logarithmic; without, categories by depth. */
function drawPlot() {
  const put = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    el("plot").append(made);
  };
  const ranked = COUNTED ? data.expanded.filter((n) => n > 0).sort((a, b) => b - a) : NONE;
  if (ranked.length) {
    const x = (rank) => 200 * Math.log(rank + 1) / Math.log(ranked.length + 1 || 2);
    const y = (n) => 54 - 52 * Math.log1p(n) / Math.log1p(ranked[0] || 1);
    const points = ranked.map((n, i) => `${x(i).toFixed(1)},${y(n).toFixed(1)}`).filter((p, i, all) => p !== all[i - 1]);
    for (const limit of [20, 100]) if (limit < ranked[0]) put("line", { x1: 0, x2: 200, y1: y(limit), y2: y(limit), class: "limit" });
    put("polygon", { points: `0,56 ${points.join(" ")} ${x(ranked.length - 1).toFixed(1)},56`, class: "under" });
    put("polyline", { points: points.join(" "), class: "curve" });
    el("plot-title").textContent = "the long tail";
    el("plot-note").textContent = "images by rank, log-log; at 20, 100";
    return;
  }
  const depths = new Array(Math.max(...data.depth.slice(0, 1), ...new Set(data.depth)) + 1).fill(0);
  for (const depth of data.depth) depths[depth]++;
  const most = Math.max(...depths), wide = 200 / depths.length;
  depths.forEach((n, i) => put("rect", {
    x: i * wide + 0.5, width: Math.max(1, wide - 1.5), y: 56 - 54 * n / most, height: 54 * n / most, class: "under",
  }));
  el("plot-title").textContent = "by depth";
  el("plot-note").textContent = `categories at depth 0 to ${depths.length - 1}`;
}

el("bar-title").textContent = COUNTED ? "images, log" : "below, log";
el("bar-title").title = COUNTED ? "images with those of descendants; bars on a log scale" : "categories below, each once; bars on a log scale";
for (const button of document.querySelectorAll("[data-jump]")) {
  button.addEventListener("click", () => select(data.ids.indexOf(button.dataset.jump)));
}
drawPlot();
startTree(select, (c) => { drawDetails(c); markInPicture(c); });
startPicture((c) => select(c));
startSearch((c) => { select(c); treeBox.focus({ preventScroll: true }); });
addEventListener("hashchange", () => select(addressed()));
select(addressed());
document.documentElement.dataset.readyMs = Math.round(performance.now()); // all rows are there; painting follows
