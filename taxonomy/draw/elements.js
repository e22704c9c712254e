// What every page of ours is made with: elements by id, new ones whose inside stays text, numbers in words, names, keys, files.
const el = (id) => document.getElementById(id);
const full = new Intl.NumberFormat("en");
const many = (n, one, more) => `${full.format(n)} ${n === 1 ? one : more}`;

/** A new element; children are elements or text, and text stays text. */
function make(tag, properties = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "class") made.className = value;
    else if (key === "onclick") made.addEventListener("click", value);
    else made.setAttribute(key, value);
  }
  made.append(...inside);
  return made;
}

/** A key as a table of commands names it: by its letter wherever it lies; without Latin letters by its place. */
function keyName(event) {
  const place = /^Key([A-Z])$/.exec(event.code), digit = /^(?:Digit|Numpad)([0-9])$/.exec(event.code);
  let key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (place && !/^[\x21-\x7e]$/.test(key) && event.key.length === 1) key = place[1].toLowerCase();
  // Without Shift a French keyboard has other signs on its digits.
  else if (digit && !event.shiftKey && !/^[0-9]$/.test(key) && key.length === 1) key = digit[1];
  if (event.shiftKey && key.startsWith("Arrow")) key = `Shift+${key}`;
  return (event.ctrlKey || event.metaKey) && !event.altKey ? `Ctrl+${key}` : key;
}

/** Whether a key belongs to what has the focus: a text field. */
const isTyping = (target) => target instanceof HTMLElement && (target.isContentEditable || /^(?:TEXTAREA|SELECT)$/.test(target.tagName)
  || (target.tagName === "INPUT" && target.type !== "file"));

/** Why a file that was brought is not taken, in words for the reader. */
class Refused extends Error {}
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** A person's name in its one spelling; "" for what is none, or is longer. */
function cleanNameOf(text, mostChars) {
  if (typeof text !== "string" || text.length > 1000) return "";
  const name = text.normalize("NFC").trim().replace(/\s+/gu, " ");
  return Array.from(name).length > mostChars || /\p{C}|(?! )\p{Z}/u.test(name) ? "" : name;
}

/** Gives the reader a file of JSON; returns its name. */
function handOver(name, text) {
  const address = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  return link.download;
}
