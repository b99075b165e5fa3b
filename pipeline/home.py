"""Segue's own folder, which holds the store, the catalog and the memory of weight hashes. Knows nothing of what is in it."""

from __future__ import annotations

import os
from pathlib import Path


def segue_home(given: str | Path | None = None) -> Path:
    """The folder `given`, else ``$SEGUE_HOME``, else ``~/.cache/segue``. Not made here."""
    return Path(given if given is not None else os.environ.get("SEGUE_HOME") or "~/.cache/segue").expanduser()
