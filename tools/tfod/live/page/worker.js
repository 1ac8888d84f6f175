// Keeps the page and the model, so that both open without a network. VERSION is that of their content.
const CACHE = "tfod-VERSION";
const FILES = ["./", "style.css", "live.js", "site.json", "model.tflite", "icon.svg",
  "manifest.webmanifest", "vision/vision_bundle.mjs"];

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.clients.claim()),
  );
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  event.respondWith(
    caches.match(event.request, { ignoreSearch: true }).then(async (kept) => {
      if (kept) return kept;
      const answer = await fetch(event.request);
      // Of MediaPipe's four builds each browser takes one; that one is kept when it comes by.
      if (answer.ok && event.request.url.includes("/vision/")) {
        const cache = await caches.open(CACHE);
        await cache.put(event.request, answer.clone());
      }
      return answer;
    }),
  );
});
