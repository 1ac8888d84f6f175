import { FilesetResolver, ObjectDetector } from "./vision/vision_bundle.mjs";

// Okabe and Ito's colours, which colour-blind people can tell apart.
const COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#D55E00", "#CC79A7", "#0072B2"];
const LEAST = 0.01; // the slider's lower end; what is weaker never leaves the detector

const $ = (id) => document.getElementById(id);
const video = $("video");
const boxes = $("boxes");
const picture = $("picture");

let detector;
let site;
let mode; // "VIDEO" while the camera runs, else "IMAGE"
let stream;
let facing = "environment";
let shown = []; // detections of the last picture, all of them
const ticks = []; // when frames were done, of the last second

function say(text, fault = false) {
  $("status").textContent = text;
  $("status").classList.toggle("fault", fault);
}

async function start() {
  site = await (await fetch("site.json")).json();
  document.title = $("name").textContent = site.name;
  $("threshold").value = Math.round(100 * site.threshold);
  showThreshold();
  const vision = await FilesetResolver.forVisionTasks("./vision/wasm");
  detector = await ObjectDetector.createFromOptions(vision, {
    baseOptions: { modelAssetPath: "./model.tflite", delegate: "CPU" },
    scoreThreshold: LEAST,
    runningMode: (mode = "IMAGE"),
  });
  $("camera").disabled = false;
  say("Ready");
}

// Leaves everything with the service worker, where there is one (https:// and localhost).
async function keep() {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register("worker.js");
  await navigator.serviceWorker.ready;
  if (!navigator.serviceWorker.controller) {
    await new Promise((done) => {
      navigator.serviceWorker.addEventListener("controllerchange", done, { once: true });
    });
  }
  // MediaPipe's files for this browser came before the worker was there to keep them.
  const loaded = performance.getEntriesByType("resource").map((entry) => entry.name);
  await Promise.all(loaded.filter((name) => name.includes("/vision/")).map((name) => fetch(name)));
  if (!stream) say("Ready, also without a network");
}

async function run(wanted) {
  if (mode !== wanted) {
    await detector.setOptions({ runningMode: wanted });
    mode = wanted;
  }
}

function threshold() {
  return Number($("threshold").value) / 100;
}

function showThreshold() {
  $("from").textContent = `${$("threshold").value} %`;
}

function fit(width, height) {
  $("stage").classList.remove("empty");
  if (boxes.width !== width || boxes.height !== height) {
    boxes.width = width;
    boxes.height = height;
  }
}

function colour(name) {
  return COLOURS[Math.max(site.classes.indexOf(name), 0) % COLOURS.length];
}

function draw() {
  const visible = shown
    .map((each) => ({ box: each.boundingBox, ...each.categories[0] }))
    .filter((each) => each.score >= threshold());
  const pen = boxes.getContext("2d");
  pen.clearRect(0, 0, boxes.width, boxes.height);
  const line = Math.max(2, Math.max(boxes.width, boxes.height) / 300);
  const size = Math.round(8 * line);
  pen.lineWidth = line;
  pen.font = `600 ${size}px system-ui, sans-serif`;
  pen.textBaseline = "top";
  for (const { box, categoryName, score } of visible) {
    pen.strokeStyle = pen.fillStyle = colour(categoryName);
    pen.strokeRect(box.originX, box.originY, box.width, box.height);
    const text = `${categoryName} ${Math.round(100 * score)} %`;
    const width = pen.measureText(text).width + size / 2;
    const left = Math.max(0, Math.min(box.originX, boxes.width - width));
    const top = box.originY < 1.4 * size ? box.originY : box.originY - 1.4 * size;
    pen.fillRect(left, top, width, 1.4 * size);
    pen.fillStyle = "#000";
    pen.fillText(text, left + size / 4, top + size / 5);
  }
  const entries = visible.map(({ box, categoryName, score }) => {
    const entry = document.createElement("li");
    entry.textContent = `${categoryName} ${Math.round(100 * score)} %`;
    const { originX, originY, width, height } = box;
    entry.dataset.box = JSON.stringify([originX, originY, originX + width, originY + height]);
    entry.dataset.score = score;
    return entry;
  });
  $("found").replaceChildren(...entries);
}

function showSpeed(milliseconds) {
  const now = performance.now();
  ticks.push(now);
  while (ticks[0] < now - 1000) ticks.shift();
  const rate = ticks.length > 1 ? (1000 * (ticks.length - 1)) / (now - ticks[0]) : 0;
  $("speed").textContent =
    `${milliseconds.toFixed(0)} ms a picture` +
    (mode === "VIDEO" ? `, ${rate.toFixed(1)} pictures a second` : "");
}

function detectFrame() {
  if (!stream) return;
  if (video.readyState >= 2 && video.videoWidth) {
    fit(video.videoWidth, video.videoHeight);
    const before = performance.now();
    shown = detector.detectForVideo(video, before).detections;
    showSpeed(performance.now() - before);
    draw();
  }
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(detectFrame);
  else requestAnimationFrame(detectFrame);
}

function stopCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = undefined;
  video.srcObject = null;
  video.hidden = true;
  $("camera").textContent = "Start camera";
  $("turn").hidden = true;
}

async function startCamera() {
  if (!navigator.mediaDevices) {
    say("Browsers open the camera for https:// and localhost only. Open a picture instead.", true);
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: facing, width: { ideal: 1280 }, height: { ideal: 720 } },
    });
  } catch (error) {
    say(`No camera: ${error.message}`, true);
    return;
  }
  await run("VIDEO");
  picture.hidden = true;
  video.hidden = false;
  video.srcObject = stream;
  await video.play();
  $("camera").textContent = "Stop camera";
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(
    (device) => device.kind === "videoinput",
  );
  $("turn").hidden = cameras.length < 2;
  say("Looking");
  detectFrame();
}

async function open(file) {
  if (!file || !detector) return;
  stopCamera();
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    say(`${file.name} is no picture that this browser reads.`, true);
    return;
  }
  await run("IMAGE");
  fit(bitmap.width, bitmap.height);
  picture.width = bitmap.width;
  picture.height = bitmap.height;
  picture.getContext("2d").drawImage(bitmap, 0, 0);
  picture.hidden = false;
  const before = performance.now();
  shown = detector.detect(picture).detections;
  showSpeed(performance.now() - before);
  draw();
  say(file.name);
}

$("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
$("turn").addEventListener("click", () => {
  facing = facing === "environment" ? "user" : "environment";
  stopCamera();
  startCamera();
});
$("file").addEventListener("change", (event) => open(event.target.files[0]));
$("threshold").addEventListener("input", () => {
  showThreshold();
  draw();
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    $("stage").classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop") open(event.dataTransfer.files[0]);
  });
}
start()
  .then(() => new URLSearchParams(location.search).has("camera") && startCamera())
  .then(keep)
  .catch((error) => say(`This browser cannot run the detector: ${error.message}`, true));
