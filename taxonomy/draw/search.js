// The search box: names, synonyms, ids and further ids; what begins with the words comes before what contains them.
const SHOWN = 40;
const input = el("search"), found = el("found");
let haystack = null, hits = [], chosen = -1, onFound = () => {};

const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

/** One folded line for each category: its texts, each between line feeds. Made at the first search. */
function makeHaystack() {
  const lines = new Array(N);
  for (let c = 0; c < N; c++) {
    const texts = [nameOf(c), ...(data.synonyms[c] || NONE), data.ids[c], ...(data.aliases[c] || NONE)];
    lines[c] = `\n${folded(texts.map((text) => text.replaceAll("\n", " ")).join("\n"))}\n`;
  }
  return lines;
}

/** How well a line fits: 0 best; the name's own place before those of synonyms and ids. */
function fit(line, query) {
  if (line.startsWith(`\n${query}\n`)) return 0;
  if (line.includes(`\n${query}\n`)) return 1;
  if (line.startsWith(`\n${query}`)) return 2;
  if (line.includes(`\n${query}`)) return 3;
  return line.includes(` ${query}`) ? 4 : 5;
}

function searchFor(text) {
  const query = folded(text.trim());
  if (!query) return [];
  haystack ??= makeHaystack();
  const ranked = [];
  for (let c = 0; c < N; c++) if (haystack[c].includes(query)) ranked.push(fit(haystack[c], query) * N + c);
  return Float64Array.from(ranked).sort();
}

function showFound() {
  const ranked = searchFor(input.value);
  hits = Array.from(ranked.slice(0, SHOWN), (rank) => rank % N);
  chosen = hits.length ? 0 : -1;
  const lines = hits.map((c, i) => {
    const query = folded(input.value.trim());
    const why = [...(data.synonyms[c] || NONE), data.ids[c], ...(data.aliases[c] || NONE)].find((t) => folded(t).includes(query));
    const also = folded(nameOf(c)).includes(query) || !why ? [] : [make("em", {}, why)];
    const path = pathTo(c).slice(0, -1).map(nameOf).join(" \u203a ");
    return make("div", { role: "option", id: `hit-${i}`, "data-hit": i }, dot(c), make("span", { class: "name" }, nameOf(c), ...also),
      make("small", {}, sizeOf(c) ? count(sizeOf(c)) : ""), make("span", { class: "path" }, make("bdi", {}, path)));
  });
  const more = ranked.length > SHOWN ? [make("p", {}, `and ${full.format(ranked.length - SHOWN)} more: type on`)] : [];
  if (input.value.trim() && !hits.length) more.push(make("p", {}, "Nothing of that name, synonym or id."));
  found.replaceChildren(...lines, ...more);
  const open = Boolean(input.value.trim());
  found.hidden = !open;
  input.setAttribute("aria-expanded", open);
  choose(chosen);
}

function choose(i) {
  chosen = i;
  for (const line of found.querySelectorAll("[role=option]")) line.setAttribute("aria-selected", Number(line.dataset.hit) === i);
  if (i < 0) return input.removeAttribute("aria-activedescendant");
  input.setAttribute("aria-activedescendant", `hit-${i}`);
  el(`hit-${i}`).scrollIntoView({ block: "nearest" });
}

function closeSearch() {
  found.hidden = true;
  input.setAttribute("aria-expanded", "false");
}

function take(i) {
  if (i < 0 || i >= hits.length) return;
  closeSearch();
  onFound(hits[i]);
}

function searchKey(event) {
  if (event.key === "ArrowDown" && hits.length) choose((chosen + 1) % hits.length);
  else if (event.key === "ArrowUp" && hits.length) choose((chosen + hits.length - 1) % hits.length);
  else if (event.key === "Enter") take(chosen);
  else if (event.key === "Escape" && !found.hidden) closeSearch();
  else return;
  event.preventDefault();
}

function startSearch(picked) {
  onFound = picked;
  input.addEventListener("input", showFound);
  input.addEventListener("focus", () => { if (input.value.trim()) showFound(); });
  input.addEventListener("keydown", searchKey);
  found.addEventListener("mousedown", (event) => event.preventDefault());  // the box keeps the focus
  found.addEventListener("click", (event) => {
    const line = event.target.closest("[data-hit]");
    if (line) take(Number(line.dataset.hit));
  });
  input.addEventListener("blur", closeSearch);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target === input || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
}
