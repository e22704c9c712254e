// What every page of ours is made with: elements by id, new ones whose inside stays text, numbers in words.
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
