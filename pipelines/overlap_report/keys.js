// The keys, in one table: what they do and how the help names them.
const COMMANDS = [
  { keys: ["y", "1"], does: "a copy: the same photograph, whatever was done to it", run: () => decide(COPY) },
  { keys: ["n", "2"], does: "different photographs", run: () => decide(DIFFERENT) },
  { keys: ["u", "3"], does: "unsure", run: () => decide(UNSURE) },
  { keys: ["Backspace", "Ctrl+z"], does: "undo the last decision, then the one before, and so on", run: () => undo() },
  { keys: ["j", "ArrowDown"], does: "next pair", repeats: true, run: () => goTo(at + 1) },
  { keys: ["k", "ArrowUp"], does: "pair before", repeats: true, run: () => goTo(at - 1) },
  { keys: ["g"], does: "next pair without a decision", run: () => goOn() },
  { keys: ["Home"], does: "first pair of the list", run: () => goTo(0) },
  { keys: ["End"], does: "last pair of the list", run: () => goTo(listing.length - 1) },
  { keys: [" "], does: "both pictures on one place: show the other one", run: () => otherPicture() },
  { keys: ["b"], does: "let the two pictures blink on one place, or stop it", run: () => blink() },
  { keys: ["Escape"], does: "side by side again; out of a field back to the list", run: () => setFlip("") },
  { keys: ["/"], does: "search", run: () => el("by-text").focus() },
  { keys: ["e"], does: "export the decisions as a file", run: () => exportNow() },
  { keys: ["?"], does: "this help", run: () => el("help").showModal() },
];
const NAMES = { ArrowUp: "\u2191", ArrowDown: "\u2193", "Ctrl+z": "Ctrl+Z", " ": "Space", Escape: "Esc" };
const commandOf = new Map(COMMANDS.flatMap((command) => command.keys.map((key) => [key, command])));

/** Whether what has the focus needs a key itself: letters pass by sliders and boxes, Space and Enter belong to buttons. */
function belongsTo(target, key) {
  if (!(target instanceof HTMLElement)) return false;
  if (["range", "checkbox"].includes(target.type)) return !/^[a-z0-9?/]$/.test(key);
  if (/^(?:BUTTON|SUMMARY|LABEL)$/.test(target.tagName) || target.type === "file") return key === " ";
  return isTyping(target);
}

function onKey(event) {
  if (event.isComposing || event.defaultPrevented) return;
  const key = keyName(event), command = commandOf.get(key);
  const open = document.querySelector("dialog[open]");
  if (open) {
    if (open === el("help") && key === "?") open.close();
    return;
  }
  if (key === "Escape" && event.target !== document.body) goTo(at, { scroll: false });
  if (!command || belongsTo(event.target, key) || (event.altKey && key !== "?")) return;
  event.preventDefault();
  if (!event.repeat || command.repeats) command.run();
}

function fillHelp() {
  el("keys").append(...COMMANDS.flatMap(({ keys, does }) => [
    make("dt", {}, ...keys.flatMap((key, i) => [i ? " or " : "", make("kbd", {}, NAMES[key] ?? key)])), make("dd", {}, does),
  ]));
}
