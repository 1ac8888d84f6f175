// Draws boxes with Annotorious, and saves them at every change.
const { createImageAnnotator } = globalThis.Annotorious;

const COLORS = ["#d93025", "#1a73e8", "#188038", "#e37400", "#a142f4", "#007b83", "#c2185b", "#5f6368"];
const ROW = 56; // pixels, as in style.css
const NAME_HEIGHT = 18; // pixels, of the name at a box
const MOST_ZOOM = 16;

const $ = (id) => document.getElementById(id);
const page = { images: [], classes: [], shown: [], model: false };
// Of the open image: its number, version, size, and objects, each
// { id, position, name, box: [xmin, ymin, xmax, ymax], difficult, score }. Those with a score are
// suggestions, which are not saved. Those without a position are not in the file yet.
let open = { number: -1, objects: [] };
let nextClass = null;
let zoom = 1;
let saving = Promise.resolve();
let ids = 0;
const changes = new Map(); // what each change was, by the versions of the file before and after it
const dashes = new CSSStyleSheet();
document.adoptedStyleSheets.push(dashes);

const annotator = createImageAnnotator($("image"), {
  drawingEnabled: false,
  style: (annotation, state) => style(find(annotation.id), state),
});
annotator.element.append($("names")); // so that they move with the image

async function ask(path, method = "GET", body) {
  const response = await fetch(path, { method, body: body && JSON.stringify(body) }).catch(() => {
    throw new Error("tfod label does not answer. Is it still running?");
  });
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

// --- objects ---------------------------------------------------------------------------------

const find = (id) => open.objects.find((object) => object.id === id);
const color = (name) => COLORS[Math.max(page.classes.indexOf(name), 0) % COLORS.length];
const isSuggestion = (object) => object?.score !== undefined;
const isShown = (object) => !isSuggestion(object) || object.score * 100 >= $("threshold").value;

function style(object, state) {
  const stroke = object?.name ? color(object.name) : "#5f6368";
  return { stroke, strokeWidth: 2, fill: stroke, fillOpacity: state?.selected ? 0.15 : 0.05 };
}

function annotation(object) {
  const [x, y, maxX, maxY] = object.box;
  const geometry = { x, y, w: maxX - x, h: maxY - y, bounds: { minX: x, minY: y, maxX, maxY } };
  return { id: object.id, bodies: [], target: { annotation: object.id, selector: { type: "RECTANGLE", geometry } } };
}

function boxOf(annotation) {
  const { x, y, w, h } = annotation.target.selector.geometry;
  const limit = (value, most) => Math.min(Math.max(Math.round(value), 0), most);
  return [limit(x, open.width), limit(y, open.height), limit(x + w, open.width), limit(y + h, open.height)];
}

// Takes the boxes over that were moved with the pointer.
function takeOver(moved) {
  const names = [];
  for (const drawn of moved) {
    const object = find(drawn.id);
    const { x, y, w, h } = drawn.target.selector.geometry;
    const isMoved = [x, y, x + w, y + h].some((edge, index) => Math.abs(edge - object?.box[index]) > 0.001);
    if (!object || !isMoved) continue;
    const box = boxOf(drawn);
    if (isArea(box)) {
      object.box = box;
      if (isSuggestion(object)) accept(object);
      names.push(object.name);
    }
    annotator.updateAnnotation(annotation(object)); // with whole pixels
  }
  if (names.length) changed(`moved ${names.join(", ")}`);
}

// Moves the selected boxes by whole pixels, and not out of the image.
function nudge(x, y) {
  const objects = selected();
  objects.forEach((object) => {
    const [xmin, ymin, xmax, ymax] = object.box;
    const dx = Math.min(Math.max(x, -xmin), open.width - xmax);
    const dy = Math.min(Math.max(y, -ymin), open.height - ymax);
    object.box = [xmin + dx, ymin + dy, xmax + dx, ymax + dy];
    if (isSuggestion(object)) accept(object);
    annotator.updateAnnotation(annotation(object));
  });
  if (objects.length) changed(`moved ${namesOf(objects)}`);
}

const isArea = ([xmin, ymin, xmax, ymax]) => xmin < xmax && ymin < ymax;

function selected() {
  return annotator.getSelected().map((annotation) => find(annotation.id)).filter(Boolean);
}

// Annotorious has no dashes.
function dash() {
  const suggested = open.objects.filter(isSuggestion).map(({ id }) => `[data-id="${id}"] .a9s-inner`);
  dashes.replaceSync(suggested.length ? `${suggested.join()} { stroke-dasharray: 6 4 }` : "");
}

// Annotorious draws no text.
function nameBoxes() {
  const labels = open.objects.filter(isShown).map((object) => {
    const label = document.createElement("span");
    label.textContent = object.name ?? "class?";
    label.style.setProperty("--color", object.name ? color(object.name) : "#5f6368");
    const [xmin, ymin] = object.box;
    label.style.left = `${(100 * xmin) / open.width}%`;
    label.style.top = `${(100 * ymin) / open.height}%`;
    // Above the box, where it hides nothing of the object, if there is space.
    label.classList.toggle("inside", (ymin * $("image").clientHeight) / open.height < NAME_HEIGHT);
    return label;
  });
  $("names").replaceChildren(...labels);
}

function draw() {
  const before = selected().map((object) => object.id);
  annotator.setAnnotations(open.objects.filter(isShown).map(annotation), true);
  const remaining = before.filter((id) => find(id) && isShown(find(id)));
  if (remaining.length) annotator.setSelected(remaining);
  list();
}

// The order of the classes gives their keys and colors, so it stays the same in the next session.
function addClass(name) {
  if (!name || page.classes.includes(name)) return;
  page.classes.push(name);
  localStorage.setItem(page.folder, JSON.stringify(page.classes));
}

function earlierClasses() {
  try {
    return JSON.parse(localStorage.getItem(page.folder)) ?? [];
  } catch {
    return [];
  }
}

function add(name, box, difficult = false) {
  const object = withId({ position: null, name, box, difficult });
  open.objects.push(object);
  return object;
}

const namesOf = (objects) => objects.map((object) => object.name).join(", ");

const withId = (object) => ({ id: `object-${++ids}`, ...object });

function accept(object) {
  delete object.score;
  addClass(object.name);
}

// --- saving ----------------------------------------------------------------------------------

// Objects without a class wait until they have one.
const isSaved = (object) => !isSuggestion(object) && object.name;
const unnamed = () => open.objects.findLast((object) => !object.name);

// `what` says what has changed.
function save(what) {
  const image = open;
  const { restored } = image;
  saving = saving.then(() => {
    if (image.restored === restored) return write(image, what);
    say(`Not saved: ${what}. Undo or redo was not complete: do it again`, true);
  });
  return saving;
}

async function write(image, what) {
  const kept = image.objects.filter((object) => isSaved(object) && object.position !== null);
  kept.sort((a, b) => a.position - b.position);
  const objects = [...kept, ...image.objects.filter((object) => isSaved(object) && object.position === null)];
  const request = {
    version: image.version,
    objects: objects.map(({ position, name, box, difficult }) => ({ position, name, box, difficult })),
  };
  try {
    const written = await ask(`api/objects/${image.number}`, "PUT", request);
    // Only the position: the person may have gone on meanwhile.
    written.objects.forEach(({ position }, index) => { objects[index].position = position; });
    changes.set(String([request.version, written.version]), what);
    accepted(image, written);
    const empty = objects.length ? "" : ". Without objects, this is a negative image";
    say(`Saved: ${page.images[image.number].name}: ${what}${empty}`);
  } catch (error) {
    image.unsaved = what;
    say(`Not saved: ${error.message}`, true);
  }
}

function accepted(image, { version, undo, redo, objects }) {
  Object.assign(image, { version, undo, redo, unsaved: null });
  const entry = page.images[image.number];
  entry.labeled = version !== "";
  entry.classes = objects.map((object) => object.name);
  enableHistory();
  progress();
  rows();
}

function enableHistory() {
  $("undo").disabled = !open.undo && !unnamed();
  $("redo").disabled = !open.redo;
}

function changed(what) {
  list();
  annotator.setStyle((annotation, state) => style(find(annotation.id), state));
  return save(what);
}

function undo() {
  const box = unnamed();
  if (!box) return restore("undo", "Undone");
  $("class").blur();
  annotator.setSelected(box.id);
  remove();
}

const redo = () => restore("redo", "Redone");

// Keys may be faster than the answers.
function restore(action, done) {
  const image = open;
  saving = saving.then(() => requestRestore(image, action, done));
  return saving;
}

async function requestRestore(image, action, done) {
  if (!image[action]) return say(`Nothing to ${action}`);
  const { version } = image;
  try {
    const content = await ask(`api/${action}/${image.number}`, "POST");
    accepted(image, content);
    if (image !== open) return;
    image.restored = content;
    image.objects = [...content.objects.map(withId), ...image.objects.filter((object) => !isSaved(object))];
    annotator.setSelected();
    draw();
    const versions = action === "undo" ? [content.version, version] : [version, content.version];
    const what = changes.get(String(versions)) ?? (namesOf(image.objects.filter(isSaved)) || "no objects");
    say(`${done}: ${page.images[image.number].name}: ${what}`);
  } catch (error) {
    say(error.message, true);
  }
}

// --- images ----------------------------------------------------------------------------------

// Whether all boxes of the open image are in its file. Otherwise it says what to do.
async function isComplete() {
  await saving;
  const waiting = unnamed();
  if (waiting) {
    annotator.setSelected(waiting.id);
    say("This box has no class: choose one, or delete the box", true);
  } else if (open.unsaved) {
    await save(open.unsaved);
  }
  return !waiting && !open.unsaved;
}

async function show(number) {
  if (number < 0 || number >= page.images.length) return;
  setDrawing(false);
  if (!(await isComplete())) return;
  annotator.setSelected();
  // Not clearAnnotations(): Annotorious counts that as an edit, and its undo fails at an edit in the
  // first 250 ms of a page.
  annotator.setAnnotations([], true);
  open = { number, objects: [] };
  $("stage").setAttribute("aria-busy", true);
  const image = open;
  const name = page.images[number].name;
  $("name").textContent = name;
  $("image").alt = name;
  history.replaceState(null, "", `#${number}`);
  rows(true);
  say("");
  try {
    const content = await ask(`api/objects/${number}`);
    $("image").src = `api/images/${number}`;
    await $("image").decode();
    if (image !== open) return;
    Object.assign(image, content, { objects: content.objects.map(withId) });
    content.objects.forEach((object) => addClass(object.name));
    if (content.fault) say(`The annotation ${content.fault}. It cannot be changed here.`, true);
    resize(1);
    draw();
    $("stage").setAttribute("aria-busy", false);
    if (page.model && !page.images[number].labeled) await suggest(image);
  } catch (error) {
    if (image !== open) return;
    $("image").removeAttribute("src"); // not the image before
    say(error.message, true);
  }
  if (number + 1 < page.images.length) new Image().src = `api/images/${number + 1}`;
}

async function suggest(image) {
  const suggestions = await ask(`api/suggestions/${image.number}`).catch((error) => {
    if (image === open) say(error.message, true);
    return [];
  });
  if (image !== open || image.objects.length) return;
  suggestions.forEach(({ name, box, score }) => {
    const rounded = box.map(Math.round);
    if (isArea(rounded)) Object.assign(add(name, rounded), { score });
    addClass(name);
  });
  draw();
}

// The next image in the list that is shown.
function step(direction) {
  const index = page.shown.indexOf(open.number);
  const next = index < 0 ? page.shown.find((number) => number > open.number) : page.shown[index + direction];
  if (next !== undefined) return show(next);
  const isDone = page.images.every((image) => image.labeled);
  if (direction > 0) say(isDone ? "All images are labeled" : "This is the last image of the list");
}

// --- list of images, drawn where it is visible -------------------------------------------------

function filter() {
  const value = $("filter").value;
  page.shown = [...page.images.keys()].filter((number) => {
    const image = page.images[number];
    if (value === "unlabeled") return !image.labeled;
    return value === "all" || image.classes.includes(value.slice(2));
  });
  rows(true);
}

function rows(scroll = false) {
  const box = $("rows");
  $("height").style.height = `${page.shown.length * ROW}px`;
  const current = page.shown.indexOf(open.number);
  if (scroll && current >= 0) {
    const top = current * ROW;
    if (top < box.scrollTop || top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 2;
  }
  const first = Math.max(Math.floor(box.scrollTop / ROW) - 3, 0);
  const numbers = page.shown.slice(first, first + Math.ceil(box.clientHeight / ROW) + 6);
  const visible = new Map([...box.querySelectorAll(".row")].map((row) => [Number(row.dataset.number), row]));
  numbers.forEach((number, index) => {
    const row = visible.get(number) ?? newRow(number);
    visible.delete(number);
    row.style.top = `${(first + index) * ROW}px`;
    row.classList.toggle("labeled", page.images[number].labeled);
    row.setAttribute("aria-current", number === open.number);
    if (!row.parentNode) box.append(row);
  });
  visible.forEach((row) => row.remove());
}

function newRow(number) {
  const row = document.createElement("button");
  row.type = "button";
  row.className = "row";
  row.dataset.number = number;
  const image = document.createElement("img");
  image.loading = "lazy";
  image.alt = "";
  image.src = `api/thumbnails/${number}`;
  const name = document.createElement("span");
  name.textContent = page.images[number].name;
  row.append(image, name);
  row.addEventListener("click", () => {
    $("list").classList.remove("open");
    settle();
    show(number);
  });
  return row;
}

function progress() {
  const labeled = page.images.filter((image) => image.labeled).length;
  $("progress").textContent = `${labeled} of ${page.images.length} labeled`;
}

// --- lists of objects and classes ----------------------------------------------------------------

function list() {
  dash();
  nameBoxes();
  const chosen = selected().map((object) => object.id);
  $("delete").disabled = !chosen.length;
  enableHistory();
  $("objects").replaceChildren(...open.objects.filter(isShown).map((object) => objectRow(object, chosen)));
  $("none").hidden = !open.width || open.objects.some(isSaved) || !page.images[open.number]?.labeled;
  $("classes").replaceChildren(...page.classes.map(classRow));
  const filters = [...$("filter").options].slice(2).map((option) => option.text);
  page.classes.filter((name) => !filters.includes(name)).forEach((name) => {
    $("filter").add(new Option(name, `c:${name}`));
  });
}

function objectRow(object, chosen) {
  const row = document.createElement("li");
  row.style.setProperty("--color", object.name ? color(object.name) : "#888");
  row.classList.toggle("suggested", isSuggestion(object));
  row.setAttribute("aria-current", chosen.includes(object.id));
  const name = document.createElement("select");
  name.ariaLabel = "Class";
  if (!object.name) name.add(new Option("class?", ""));
  page.classes.forEach((text) => name.add(new Option(text, text, false, text === object.name)));
  name.addEventListener("change", () => setClass([object], name.value));
  const difficult = document.createElement("input");
  difficult.type = "checkbox";
  difficult.checked = object.difficult;
  const label = document.createElement("label");
  label.title = "Hard to recognize: does not count in PASCAL VOC's evaluation";
  label.append(difficult, " difficult");
  difficult.addEventListener("change", () => {
    object.difficult = difficult.checked;
    if (isSuggestion(object)) accept(object);
    changed(`${object.name} is ${object.difficult ? "" : "not "}difficult`);
  });
  row.append(name, isSuggestion(object) ? `${Math.round(object.score * 100)} %` : label);
  row.addEventListener("click", (event) => {
    if (event.target === row) annotator.setSelected(object.id);
  });
  return row;
}

function classRow(name, index) {
  const row = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = index < 9 ? `${index + 1}  ${name}` : name;
  button.setAttribute("aria-pressed", name === nextClass);
  button.style.setProperty("--color", color(name));
  button.addEventListener("click", () => chooseClass(name));
  row.append(button);
  return row;
}

// Of the selected boxes, and of the next ones.
function chooseClass(name) {
  nextClass = name;
  const waiting = open.objects.filter((object) => !object.name);
  const targets = [...new Set([...selected(), ...waiting])];
  if (targets.length) setClass(targets, name);
  else list();
}

function setClass(objects, name) {
  const before = objects.map((object) => object.name).filter(Boolean);
  objects.forEach((object) => {
    object.name = name;
    if (isSuggestion(object)) accept(object);
  });
  changed(before.length ? `${before.join(", ")} is now ${name}` : `new ${name}`);
}

// Its lines would keep the size that the image had, and with it the scrollbars.
function hideCrosshair() {
  for (const line of [$("across"), $("down")]) {
    line.hidden = true;
    line.style.width = line.style.height = "";
  }
}

// --- tools -----------------------------------------------------------------------------------

function setDrawing(on) {
  annotator.setDrawingEnabled(on);
  $("draw").setAttribute("aria-pressed", on);
  $("stage").classList.toggle("drawing", on);
  hideCrosshair();
  if (on) annotator.setSelected();
  else annotator.cancelDrawing();
}

function remove() {
  const objects = selected();
  if (!objects.length) return;
  annotator.setSelected();
  open.objects = open.objects.filter((object) => !objects.includes(object));
  objects.forEach((object) => annotator.removeAnnotation(object.id));
  if (objects.some(isSaved)) return changed(`deleted ${namesOf(objects.filter(isSaved))}`);
  list();
  say(`Deleted ${objects.map(({ name }) => name ?? "the box without class").join(", ")}, which was not saved`);
}

function acceptSuggestions() {
  const chosen = selected().filter(isSuggestion);
  const objects = chosen.length ? chosen : open.objects.filter((object) => isSuggestion(object) && isShown(object));
  objects.forEach(accept);
  if (objects.length) changed(`accepted ${namesOf(objects)}`);
}

function nothing() {
  if (open.objects.some(isSaved)) return say("This image has objects: delete them first", true);
  open.objects = [];
  draw();
  save("no objects");
}

// Of the image before this one in the list.
async function copyPrevious() {
  const image = open;
  const number = page.shown[page.shown.indexOf(image.number) - 1];
  if (number === undefined) return say("This is the first image of the list", true);
  try {
    const { objects } = await ask(`api/objects/${number}`);
    if (image !== open) return;
    const inside = objects.map(({ name, box: [xmin, ymin, xmax, ymax], difficult }) => ({
      name,
      difficult,
      box: [xmin, ymin, Math.min(xmax, open.width), Math.min(ymax, open.height)],
    }));
    const isNew = ({ name, box }) => !open.objects.some((object) => object.name === name && String(object.box) === String(box));
    const copies = inside.filter((object) => isArea(object.box) && isNew(object));
    if (!copies.length) return say(`Nothing to copy from ${page.images[number].name}`, true);
    copies.forEach(({ name, box, difficult }) => add(name, box, difficult));
    draw();
    save(`copied ${namesOf(copies)}`);
  } catch (error) {
    say(error.message, true);
  }
}

// Zooms around the point of the event `at`, or the center: it stays where it is.
function resize(factor, at) {
  if (!open.width) return;
  const image = $("image");
  const stage = $("stage").getBoundingClientRect();
  const before = image.getBoundingClientRect();
  const fit = Math.min(stage.width / open.width, stage.height / open.height);
  zoom = Math.min(Math.max(factor, 1), MOST_ZOOM);
  image.style.width = `${open.width * fit * zoom}px`;
  // Margins that center the whole image. A zoomed one keeps them, so that any point of it can stay in its place.
  const margins = [stage.height - open.height * fit, stage.width - open.width * fit];
  annotator.element.style.margin = margins.map((both) => `${both / 2}px`).join(" ");
  annotator.element.style.translate = "";
  hideCrosshair();
  nameBoxes();
  const after = image.getBoundingClientRect();
  const scale = after.width / before.width;
  const x = at?.clientX ?? stage.left + stage.width / 2;
  const y = at?.clientY ?? stage.top + stage.height / 2;
  scrollBy(after.left + (x - before.left) * scale - x, after.top + (y - before.top) * scale - y);
}

// Browsers scroll by whole pixels, so the image moves by the rest. Otherwise it would drift from step to step.
function scrollBy(x, y) {
  const stage = $("stage");
  const left = Math.min(Math.max(stage.scrollLeft + x, 0), stage.scrollWidth - stage.clientWidth);
  const top = Math.min(Math.max(stage.scrollTop + y, 0), stage.scrollHeight - stage.clientHeight);
  stage.scrollTo(left, top);
  annotator.element.style.translate = `${stage.scrollLeft - left}px ${stage.scrollTop - top}px`;
}

// --- events ----------------------------------------------------------------------------------

function created(drawn) {
  if (find(drawn.id) || !annotator.getAnnotationById(drawn.id)) return; // known, or of the image before
  const box = boxOf(drawn);
  setDrawing(false);
  if (!isArea(box)) return annotator.removeAnnotation(drawn.id);
  const only = page.classes.length === 1 ? page.classes[0] : null;
  const object = Object.assign(add(nextClass ?? only, box), { id: drawn.id });
  annotator.updateAnnotation(annotation(object)); // with whole pixels
  annotator.setSelected(object.id);
  if (object.name) return changed(`new ${object.name}`);
  list();
  if (page.classes.length) return say("Choose the class of this box: press its number, or add a new class");
  say("Type the class of this box");
  $("class").focus();
}

annotator.on("createAnnotation", created);

// Annotorious reports a drawn box a millisecond later, or more on a busy page. A key or a click must not
// overtake it: the next image would get the box.
function settle() {
  annotator.getAnnotations().forEach(created);
  takeOver(annotator.getSelected());
}

// Annotorious reports an edit only when the box is deselected. Save it when the pointer is released.
annotator.on("updateAnnotation", (moved) => takeOver([moved]));
let released;
for (const name of ["pointerup", "pointercancel"]) {
  window.addEventListener(name, () => { released = setTimeout(() => takeOver(annotator.getSelected())); });
}
// On a busy page, the next drag may begin before that. A half of it must not be a change to undo.
window.addEventListener("pointerdown", () => clearTimeout(released), true);

annotator.on("selectionChanged", list);

const KEYS = {
  w: () => setDrawing(true),
  d: () => step(1),
  a: () => step(-1),
  Delete: remove,
  Backspace: remove,
  c: copyPrevious,
  n: nothing,
  Enter: acceptSuggestions,
  "+": () => resize(zoom * 1.5),
  "-": () => resize(zoom / 1.5),
  0: () => resize(1),
  ArrowLeft: () => nudge(-1, 0),
  ArrowRight: () => nudge(1, 0),
  ArrowUp: () => nudge(0, -1),
  ArrowDown: () => nudge(0, 1),
  Escape: () => {
    setDrawing(false);
    annotator.setSelected();
    document.activeElement.blur();
  },
};

// In the first phase, before Annotorious, which has an undo of its own.
window.addEventListener(
  "keydown",
  (event) => {
    const isField = event.target.closest("input:not([type=checkbox], [type=range]), select");
    const isPressed = event.key === "Enter" && event.target.closest("button, summary");
    const isTyping = (isField && event.key !== "Escape") || isPressed;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key; // Caps Lock
    const restoring = event.ctrlKey || event.metaKey ? { z: event.shiftKey ? redo : undo, y: redo }[key] : undefined;
    if (restoring) {
      event.stopImmediatePropagation();
      if (event.target === $("class") && event.target.value) return; // the browser restores the text
      event.preventDefault();
      settle();
      restoring();
    } else if (!isTyping && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const isDigit = /^[1-9]$/.test(event.key);
      const digit = isDigit ? page.classes[event.key - 1] : undefined;
      if (isDigit && !digit) say(`No class has the number ${event.key}`);
      const action = digit ? () => chooseClass(digit) : KEYS[key];
      if (!action) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      settle();
      action();
    }
  },
  true,
);

// A box may be drawn to the edge of the image and beyond, where it is cut off.
let pressed = null; // where the pointer went down without a tool, for a hint
$("stage").addEventListener("pointerdown", (event) => {
  const isDrawing = $("stage").classList.contains("drawing");
  if (isDrawing && event.target.closest("svg")) event.target.setPointerCapture(event.pointerId);
  pressed = isDrawing || selected().length ? null : [event.clientX, event.clientY];
}, true);
$("stage").addEventListener("click", () => {
  if ($("stage").classList.contains("drawing")) say("Drag from one corner of the object to the opposite one");
}, true);
window.addEventListener("pointerup", (event) => {
  const isDrag = pressed && Math.hypot(event.clientX - pressed[0], event.clientY - pressed[1]) > 20;
  pressed = null;
  if (isDrag && !selected().length) say("Press w or New box first, then draw a box");
});

$("stage").addEventListener("pointermove", (event) => {
  if (!$("stage").classList.contains("drawing")) return;
  const stage = $("stage").getBoundingClientRect();
  $("across").hidden = $("down").hidden = false;
  $("across").style.top = `${event.clientY - stage.top + $("stage").scrollTop}px`;
  $("across").style.width = `${$("stage").scrollWidth}px`;
  $("down").style.left = `${event.clientX - stage.left + $("stage").scrollLeft}px`;
  $("down").style.height = `${$("stage").scrollHeight}px`;
});

$("stage").addEventListener("wheel", (event) => {
  if (!event.ctrlKey) return;
  event.preventDefault();
  resize(zoom * (event.deltaY < 0 ? 1.2 : 1 / 1.2), event);
}, { passive: false });

for (const [id, action] of Object.entries({
  draw: () => setDrawing($("draw").getAttribute("aria-pressed") !== "true"),
  delete: remove,
  undo,
  redo,
  copy: copyPrevious,
  nothing,
  accept: acceptSuggestions,
  previous: KEYS.a,
  next: KEYS.d,
  smaller: KEYS["-"],
  fit: KEYS[0],
  larger: KEYS["+"],
})) {
  $(id).addEventListener("click", () => {
    $(id).blur(); // so that keys work again
    settle();
    action();
  });
}

$("menu").addEventListener("click", () => {
  const isOpen = $("list").classList.toggle("open");
  $("menu").setAttribute("aria-expanded", isOpen);
  rows(true);
});
$("threshold").addEventListener("input", () => {
  $("score").textContent = `${$("threshold").value} %`;
  draw();
});
$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = $("class").value.trim().replace(/\s+/g, " ");
  if (!typed) return;
  // "Stop" and "stop" would be two classes, which `tfod convert` refuses.
  const name = page.classes.find((known) => known.toLowerCase() === typed.toLowerCase()) ?? typed;
  $("class").value = "";
  $("class").blur();
  addClass(name);
  chooseClass(name);
});
$("filter").addEventListener("change", () => {
  filter();
  $("filter").blur();
});
$("rows").addEventListener("scroll", () => rows());
window.addEventListener("resize", () => rows());
// Also when a long message or the tools take another line.
new ResizeObserver(() => resize(zoom)).observe($("stage"), { box: "border-box" });

// --- start -----------------------------------------------------------------------------------

async function start() {
  Object.assign(page, await ask("api/images"));
  const used = page.images.flatMap((image) => image.classes);
  // A model's classes come first. Earlier ones that no image has, such as a wrong name, are gone.
  const earlier = earlierClasses().filter((name) => used.includes(name));
  [...page.classes.splice(0), ...earlier, ...used].forEach(addClass);
  $("suggesting").hidden = !page.model;
  if (page.threshold) {
    $("threshold").value = Math.round(page.threshold * 100);
    $("score").textContent = `${$("threshold").value} %`;
  }
  progress();
  list();
  filter();
  const asked = Number.parseInt(location.hash.slice(1), 10);
  const unlabeled = page.images.findIndex((image) => !image.labeled);
  await show(page.images[asked] ? asked : Math.max(unlabeled, 0));
}

await start().catch((error) => say(error.message, true));
