import { FilesetResolver, ObjectDetector } from "./vision/vision_bundle.mjs";

// The color-blind safe palette of Okabe and Ito.
const COLORS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2"];
const MIN_SCORE = 0.01; // the lower end of the slider

const $ = (id) => document.getElementById(id);
const video = $("video");
const boxes = $("boxes");
const image = $("image");

let detector;
let site;
let mode; // "VIDEO" while the camera runs, else "IMAGE"
let stream;
let facing = "environment";
let detections = []; // of the last frame or image, with any score
const frameTimes = []; // of the frames in the last second, ms

function setStatus(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function start() {
  site = await (await fetch("site.json")).json();
  document.title = $("name").textContent = site.name;
  $("threshold").value = Math.round(100 * site.threshold);
  showThreshold();
  const vision = await FilesetResolver.forVisionTasks("./vision/wasm");
  detector = await ObjectDetector.createFromOptions(vision, {
    baseOptions: { modelAssetPath: "./model.tflite", delegate: "CPU" },
    scoreThreshold: MIN_SCORE,
    runningMode: (mode = "IMAGE"),
  });
  $("camera").disabled = false;
  setStatus("Ready");
}

// Caches all files for offline use, where browsers allow a service worker (https:// and localhost).
async function cacheFiles() {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("worker.js");
  await navigator.serviceWorker.ready;
  if (!navigator.serviceWorker.controller) {
    await new Promise((resolve) => {
      navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true });
    });
  }
  // MediaPipe's files were loaded before the worker was active: fetch them again to cache them.
  const loaded = performance.getEntriesByType("resource").map((item) => item.name);
  await Promise.all(loaded.filter((name) => name.includes("/vision/")).map((name) => fetch(name)));
  // Not while a camera or an image is shown.
  if ($("status").textContent === "Ready") setStatus("Ready, works offline");
}

async function setMode(newMode) {
  if (mode !== newMode) {
    await detector.setOptions({ runningMode: newMode });
    mode = newMode;
  }
}

function threshold() {
  return Number($("threshold").value) / 100;
}

function showThreshold() {
  $("minimum").textContent = `${$("threshold").value} %`;
}

function resizeStage(width, height) {
  $("stage").classList.remove("empty");
  if (boxes.width !== width || boxes.height !== height) {
    boxes.width = width;
    boxes.height = height;
  }
}

function color(name) {
  return COLORS[Math.max(site.classes.indexOf(name), 0) % COLORS.length];
}

function draw() {
  const visible = detections
    .map((detection) => ({ box: detection.boundingBox, ...detection.categories[0] }))
    .filter(({ score }) => score >= threshold());
  const context = boxes.getContext("2d");
  context.clearRect(0, 0, boxes.width, boxes.height);
  const lineWidth = Math.max(2, Math.max(boxes.width, boxes.height) / 300);
  const fontSize = Math.round(8 * lineWidth);
  context.lineWidth = lineWidth;
  context.font = `600 ${fontSize}px system-ui, sans-serif`;
  context.textBaseline = "top";
  for (const { box, categoryName, score } of visible) {
    context.strokeStyle = context.fillStyle = color(categoryName);
    context.strokeRect(box.originX, box.originY, box.width, box.height);
    const text = `${categoryName} ${Math.round(100 * score)} %`;
    const width = context.measureText(text).width + fontSize / 2;
    const left = Math.max(0, Math.min(box.originX, boxes.width - width));
    const top = box.originY < 1.4 * fontSize ? box.originY : box.originY - 1.4 * fontSize;
    context.fillRect(left, top, width, 1.4 * fontSize);
    context.fillStyle = "#000";
    context.fillText(text, left + fontSize / 4, top + fontSize / 5);
  }
  const items = visible.map(({ box, categoryName, score }) => {
    const item = document.createElement("li");
    item.textContent = `${categoryName} ${Math.round(100 * score)} %`;
    const { originX, originY, width, height } = box;
    item.dataset.box = JSON.stringify([originX, originY, originX + width, originY + height]);
    item.dataset.score = score;
    return item;
  });
  $("detections").replaceChildren(...items);
}

function showSpeed(milliseconds) {
  const now = performance.now();
  frameTimes.push(now);
  while (frameTimes[0] < now - 1000) frameTimes.shift();
  const rate = frameTimes.length > 1 ? (1000 * (frameTimes.length - 1)) / (now - frameTimes[0]) : 0;
  $("speed").textContent =
    `${milliseconds.toFixed(0)} ms per image` +
    (mode === "VIDEO" ? `, ${rate.toFixed(1)} images per second` : "");
}

// Detects on the frames of one camera stream, until another one or none is shown.
function detectFrame(current) {
  if (stream !== current) return;
  if (video.readyState >= 2 && video.videoWidth) {
    resizeStage(video.videoWidth, video.videoHeight);
    const started = performance.now();
    detections = detector.detectForVideo(video, started).detections;
    showSpeed(performance.now() - started);
    draw();
  }
  const next = () => detectFrame(current);
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(next);
  else requestAnimationFrame(next);
}

function stopCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = undefined;
  video.srcObject = null;
  video.hidden = true;
  $("camera").textContent = "Start camera";
  $("switch").hidden = true;
}

async function startCamera() {
  if (!navigator.mediaDevices) {
    setStatus("Browsers allow the camera on https:// and localhost only. Open an image instead.", true);
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: facing, width: { ideal: 1280 }, height: { ideal: 720 } },
    });
  } catch (error) {
    setStatus(`The camera cannot be opened: ${error.message}`, true);
    return;
  }
  await setMode("VIDEO");
  image.hidden = true;
  video.hidden = false;
  video.srcObject = stream;
  await video.play();
  $("camera").textContent = "Stop camera";
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(
    (device) => device.kind === "videoinput",
  );
  $("switch").hidden = cameras.length < 2;
  setStatus("Detecting");
  detectFrame(stream);
}

async function openImage(file) {
  if (!file || !detector) return;
  stopCamera();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    setStatus(`${file.name} is not an image that this browser can read.`, true);
    return;
  }
  await setMode("IMAGE");
  resizeStage(bitmap.width, bitmap.height);
  image.width = bitmap.width;
  image.height = bitmap.height;
  image.getContext("2d").drawImage(bitmap, 0, 0);
  image.hidden = false;
  const started = performance.now();
  detections = detector.detect(image).detections;
  showSpeed(performance.now() - started);
  draw();
  setStatus(file.name);
}

$("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
$("switch").addEventListener("click", () => {
  facing = facing === "environment" ? "user" : "environment";
  stopCamera();
  startCamera();
});
$("file").addEventListener("change", (event) => openImage(event.target.files[0]));
$("threshold").addEventListener("input", () => {
  showThreshold();
  draw();
});
for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", type === "dragenter" || type === "dragover");
    if (type === "drop") openImage(event.dataTransfer.files[0]);
  });
}
// A new worker means a new model or page: load it instead of the cached one.
if (navigator.serviceWorker?.controller) {
  navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
}
start()
  .then(() => new URLSearchParams(location.search).has("camera") && startCamera())
  .then(() => cacheFiles().catch(() => {})) // without the cache, the page works online only
  .catch((error) => setStatus(`This browser cannot run the detector: ${error.message}`, true));
