// Caches the page and the model, so that they work offline. VERSION is a hash of their content.
const CACHE = "tfod-VERSION";
const FILES = ["./", "style.css", "live.js", "voc.js", "site.json", "icon.svg",
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
    caches.match(event.request, { ignoreSearch: true }).then(async (cached) => {
      if (cached) return cached;
      const response = await fetch(event.request);
      // A browser needs one of MediaPipe's four builds, and the models that were chosen.
      if (response.ok && /\/(vision|models)\//.test(event.request.url)) {
        const cache = await caches.open(CACHE);
        await cache.put(event.request, response.clone());
      }
      return response;
    }),
  );
});
