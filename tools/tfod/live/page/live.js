import { FilesetResolver, ObjectDetector } from "./vision/vision_bundle.mjs";
import { vocXml } from "./voc.js";

// The color-blind safe palette of Okabe and Ito.
const COLORS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2"];
const MIN_SCORE = 0.01; // the lower end of the slider

const $ = (id) => document.getElementById(id);
const video = $("video");
const boxes = $("boxes");
const image = $("image");

let vision;
let detector;
let delegate; // that runs the detector: "GPU" or "CPU"
let site; // the entry of the model in site.json
let mode; // "VIDEO" while the camera runs, else "IMAGE"
let stream;
let detections = []; // of the last frame or image, with any score
const frameTimes = []; // of the frames in the last second, ms

function setStatus(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function start() {
  const { models } = await (await fetch("site.json")).json();
  $("model").replaceChildren(...models.map(({ name }, number) => new Option(name, number)));
  $("model").hidden = models.length < 2;
  $("model").addEventListener("change", async (event) => {
    setStatus("Loading …");
    await useModel(models[event.target.value]);
    if (!stream && !image.hidden) detectImage();
    setStatus(stream ? "Detecting" : "Ready");
  });
  vision = await FilesetResolver.forVisionTasks("./vision/wasm");
  await useModel(models[0]);
  $("camera").disabled = false;
  setStatus("Ready");
}

async function useModel(entry) {
  const [loaded, used] = await fastestDetector(entry.file);
  const runningMode = stream ? "VIDEO" : "IMAGE";
  await loaded.setOptions({ runningMode });
  detector?.close();
  [detector, delegate, mode, site] = [loaded, used, runningMode, entry];
  document.title = $("name").textContent = site.name;
  $("threshold").value = Math.round(100 * site.threshold);
  showThreshold();
}

// Returns a detector on the GPU if the browser has one that is faster than the CPU and detects the
// same objects, otherwise on the CPU; and which of them.
async function fastestDetector(file) {
  const load = (on) =>
    ObjectDetector.createFromOptions(vision, {
      baseOptions: { modelAssetPath: `./${file}`, delegate: on },
      scoreThreshold: MIN_SCORE,
      runningMode: "IMAGE",
    });
  const cpu = await load("CPU");
  if (!hasGpu()) return [cpu, "CPU"];
  let gpu;
  try {
    gpu = await load("GPU");
    const [onCpu, onGpu] = [cpu, gpu].map(detectTestImage);
    if (onGpu.milliseconds < onCpu.milliseconds && areEqual(onGpu.detections, onCpu.detections)) {
      cpu.close();
      return [gpu, "GPU"];
    }
  } catch (error) {
    console.info(`The GPU is not used: ${error.message ?? error}`);
  }
  try {
    gpu?.close();
  } catch {} // as it failed before
  return [cpu, "CPU"];
}

// Without a GPU, browsers imitate one, which takes minutes per image.
function hasGpu() {
  const context = document.createElement("canvas").getContext("webgl2");
  if (!context) return false;
  const names = context.getExtension("WEBGL_debug_renderer_info");
  const renderer = context.getParameter(names?.UNMASKED_RENDERER_WEBGL ?? context.RENDERER);
  return !/swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
}

// Detects on a drawing of discs and rectangles, once to warm up and once to measure.
function detectTestImage(detector) {
  const test = document.createElement("canvas");
  [test.width, test.height] = [640, 480];
  const context = test.getContext("2d");
  context.fillStyle = "#8090a0";
  context.fillRect(0, 0, 640, 480);
  COLORS.forEach((shade, number) => {
    const [x, y] = [90 + 150 * (number % 4), 120 + 220 * Math.floor(number / 4)];
    for (const [fill, size] of [[shade, 60], ["#fff", 42], ["#222", 20]]) {
      context.fillStyle = fill;
      context.beginPath();
      if (number % 2) context.arc(x, y, size, 0, 7);
      else context.rect(x - size, y - size, 2 * size, 2 * size);
      context.fill();
    }
  });
  detector.detect(test);
  const started = performance.now();
  const { detections } = detector.detect(test);
  return { detections, milliseconds: performance.now() - started };
}

// Whether the three best detections are the same, but for rounding.
function areEqual(detections, others) {
  if (Math.min(3, detections.length) !== Math.min(3, others.length)) return false;
  return detections.slice(0, 3).every(({ boundingBox: box, categories: [best] }, number) => {
    const { boundingBox: other, categories } = others[number];
    const edges = ["originX", "originY", "width", "height"];
    return (
      best.categoryName === categories[0].categoryName &&
      Math.abs(best.score - categories[0].score) < 0.05 &&
      edges.every((edge) => Math.abs(box[edge] - other[edge]) < 15) // of 640 x 480 pixels
    );
  });
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
  const large = loaded.filter((name) => /\/(vision|models)\//.test(name));
  await Promise.all(large.map((name) => fetch(name)));
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

function visibleDetections() {
  return detections
    .map((detection) => ({ box: detection.boundingBox, ...detection.categories[0] }))
    .filter(({ score }) => score >= threshold());
}

function draw() {
  const visible = visibleDetections();
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
  while (frameTimes.length > 2 && frameTimes[0] < now - 1000) frameTimes.shift();
  const rate = frameTimes.length > 1 ? (1000 * (frameTimes.length - 1)) / (now - frameTimes[0]) : 0;
  $("speed").textContent =
    `${milliseconds.toFixed(0)} ms per image on the ${delegate}` +
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
  $("cameras").hidden = $("torch").hidden = true;
}

// Starts the camera with this device id, or by default the one on the back of a phone.
async function startCamera(deviceId) {
  if (!navigator.mediaDevices) {
    setStatus("Browsers allow the camera on https:// and localhost only. Open an image instead.", true);
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: {
        ...(deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "environment" }),
        width: { ideal: 1280 },
        height: { ideal: 720 },
      },
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
  await showCameras(stream.getVideoTracks()[0]);
  $("save").disabled = false;
  setStatus("Detecting");
  detectFrame(stream);
}

async function showCameras(track) {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(
    (device) => device.kind === "videoinput",
  );
  const options = cameras.map(
    ({ label, deviceId }, number) => new Option(label || `Camera ${number + 1}`, deviceId),
  );
  $("cameras").replaceChildren(...options);
  $("cameras").value = track.getSettings().deviceId;
  $("cameras").hidden = cameras.length < 2;
  $("torch").hidden = !track.getCapabilities?.().torch; // Safari and Firefox have none
  $("torch").setAttribute("aria-pressed", "false");
}

async function switchTorch() {
  const torch = $("torch").getAttribute("aria-pressed") !== "true";
  try {
    await stream.getVideoTracks()[0].applyConstraints({ advanced: [{ torch }] });
    $("torch").setAttribute("aria-pressed", String(torch));
  } catch (error) {
    setStatus(`The light cannot be switched: ${error.message}`, true);
  }
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Downloads the image and the boxes above the minimum score as PASCAL VOC XML.
async function saveImage() {
  const source = stream ? video : image;
  const canvas = document.createElement("canvas");
  canvas.width = source.videoWidth ?? source.width;
  canvas.height = source.videoHeight ?? source.height;
  canvas.getContext("2d").drawImage(source, 0, 0);
  // The camera may have moved on since the last detection.
  if (stream) detections = detector.detectForVideo(canvas, performance.now()).detections;
  const objects = visibleDetections().map(({ box, categoryName }) => ({
    name: categoryName,
    xmin: box.originX,
    ymin: box.originY,
    xmax: box.originX + box.width,
    ymax: box.originY + box.height,
  }));
  const stem = `image_${new Date().toISOString().replace(/[^0-9]/g, "")}`;
  const xml = vocXml(`${stem}.jpg`, canvas.width, canvas.height, objects);
  const jpeg = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  download(jpeg, `${stem}.jpg`);
  download(new Blob([xml], { type: "application/xml" }), `${stem}.xml`);
  setStatus(`Saved ${stem}.jpg and .xml`);
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
  $("save").disabled = false;
  detectImage();
  setStatus(file.name);
}

function detectImage() {
  const started = performance.now();
  detections = detector.detect(image).detections;
  showSpeed(performance.now() - started);
  draw();
}

$("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
$("cameras").addEventListener("change", (event) => {
  stopCamera();
  startCamera(event.target.value);
});
$("torch").addEventListener("click", switchTorch);
$("save").addEventListener("click", saveImage);
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
