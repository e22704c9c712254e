// The pictures: text in elements that the browser does not parse, at the end of the file. Only those of listed rows in
// view become images; the others cost their text and nothing else.

/** The data: URI of a picture; "" where the file has not been read so far, or was cut off. */
function uriOf(holder) {
  const found = el(holder);
  return found && found.nextElementSibling ? found.textContent : "";  // the last one has #end behind it
}

/** A figure with a picture, or with words where there is none. */
function figure(kind, holder, has, caption) {
  const uri = has ? uriOf(holder) : "";
  const picture = uri ? make("img", { src: uri, alt: caption, decoding: "async", draggable: "false" })
    : make("span", { class: "none" }, has && document.readyState === "loading" ? "Still reading" : "No picture");
  return make("figure", { class: kind }, make("div", { class: "frame" }, picture), make("figcaption", {}, caption));
}
