// The pictures: text in elements that the browser does not parse, at the end of the file. Only those near the question
// in view become images, decoded ahead; the others cost their text and nothing else.
const AHEAD = 6, BEHIND = 2;
const images = new Map();  // by number of the picture: {element, state: "waiting", "ready" or "broken", whenDone}

/** The data: URI of a picture; "" where the file has not been read so far, or was cut off. */
function uriOf(picture) {
  const holder = el(`p${picture}`);
  return holder && holder.nextElementSibling ? holder.textContent : "";  // the last one has #end behind it
}

/** The image of a picture, asked for now if it was not before; null while the file is still read up to there. */
function imageOf(picture) {
  const known = images.get(picture);
  if (known) return known;
  const uri = uriOf(picture);
  if (!uri && document.readyState === "loading") return null;
  const element = make("img", { alt: "The picture to judge", draggable: "false" });
  const image = { element, state: uri ? "waiting" : "broken", whenDone: null };
  element.src = uri;
  image.whenDone = element.decode().then(() => { image.state = "ready"; }, () => { image.state = "broken"; });
  images.set(picture, image);
  return image;
}

/** Asks for the pictures of the next questions and lets go of those far away. */
function lookAhead() {
  const near = new Set();
  const want = (i) => { if (i >= 0 && i < N && questions[i].picture >= 0) near.add(questions[i].picture); };
  for (let i = at - BEHIND; i <= at + AHEAD; i++) want(i);
  if (at < N && answers[at]) want(nextUnanswered(at));
  for (const picture of images.keys()) if (!near.has(picture)) images.delete(picture);
  for (const picture of near) imageOf(picture);
}
