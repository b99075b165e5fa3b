"""Runnable studies of open questions on the embedded model; each writes a JSON and a picture into docs/studies."""
