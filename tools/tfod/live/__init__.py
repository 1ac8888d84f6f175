"""A web page that runs a `.tflite` on a camera in the browser, and its server (`tfod live`)."""

from tfod.live.site import LIVE_PAGE, fetch_mediapipe, find_models, serve, write_site

__all__ = ["LIVE_PAGE", "fetch_mediapipe", "find_models", "serve", "write_site"]
