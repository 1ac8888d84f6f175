"""Draws boxes on images, in a browser."""
