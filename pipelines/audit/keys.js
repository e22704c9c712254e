// The keys, in one table: what they do and how the help names them. Keys are told by their letter, wherever it lies;
// on a keyboard without Latin letters by their place.
const COMMANDS = [
  { keys: ["y", "1"], does: "yes: it can be seen", run: () => give("yes") },
  { keys: ["n", "2"], does: "no: it cannot be seen", run: () => give("no") },
  { keys: ["u", "3"], does: "unsure", run: () => give("unsure") },
  { keys: ["Backspace", "Ctrl+z"], does: "undo the last answer, then the one before, and so on", run: () => undo() },
  { keys: ["ArrowLeft"], does: "back, without answering", repeats: true, run: () => move(-1) },
  { keys: ["ArrowRight"], does: "on, without answering", repeats: true, run: () => move(1) },
  { keys: ["g"], does: "go to the next question that is not answered", run: () => goOn() },
  { keys: ["r"], does: "review: go to the next one answered with unsure", run: () => review() },
  { keys: ["z"], does: "magnify the picture, or fit it again (or click it)", run: () => zoom() },
  ...[["Left", -1, 0], ["Right", 1, 0], ["Up", 0, -1], ["Down", 0, 1]].map(([way, across, down], i) => ({
    keys: [`Shift+Arrow${way}`], does: "move the magnified picture (or drag it)", repeats: true, told: i === 0, run: () => pan(across, down),
  })),
  { keys: ["e"], does: "export the answers as a file", run: () => exportNow() },
  { keys: ["?"], does: "this help", run: () => help() },
];
const NAMES = { ArrowLeft: "\u2190", ArrowRight: "\u2192", "Ctrl+z": "Ctrl+Z", "Shift+ArrowLeft": "Shift+\u2190\u2191\u2193\u2192" };
const commandOf = new Map(COMMANDS.flatMap((command) => command.keys.map((key) => [key, command])));

function onKey(event) {
  if (event.isComposing || event.defaultPrevented || isTyping(event.target)) return;
  const key = keyName(event), command = commandOf.get(key);
  if (!command || (event.altKey && key !== "?")) return;  // Alt is the browser's; some keyboards need it for "?"
  const open = document.querySelector("dialog[open]");
  if (open) {
    if (open === el("help") && command.keys.includes("?")) open.close();
    return;
  }
  if (document.body.dataset.view === "start" && !command.keys.includes("?")) return;
  event.preventDefault();
  if (!event.repeat || command.repeats) command.run();
}

function fillHelp() {
  el("keys").append(...COMMANDS.filter(({ told }) => told !== false).flatMap(({ keys, does }) => [
    make("dt", {}, ...keys.flatMap((key, i) => [i ? " or " : "", make("kbd", {}, NAMES[key] ?? key)])), make("dd", {}, does),
  ]));
}
