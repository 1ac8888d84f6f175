"""A web page that runs a `.tflite` on a camera in the browser, and its server (`tfod live`)."""

from tfod.live.site import fetch_mediapipe, find_models, is_site, serve, write_site

__all__ = ["fetch_mediapipe", "find_models", "is_site", "serve", "write_site"]
