"""Segue's own folder, which holds the store, the catalog and the memory of weight hashes; and what ``~`` means in a path. Knows
nothing of what is in it."""

from __future__ import annotations

import os
from pathlib import Path


def segue_home(given: str | Path | None = None) -> Path:
    """The folder `given`, else ``$SEGUE_HOME``, else ``~/.cache/segue``. Not made here."""
    return expanded(given if given is not None else os.environ.get("SEGUE_HOME") or "~/.cache/segue")


def expanded(text: str | Path) -> Path:
    """The path with ``~`` and ``~somebody`` written out; as it stands where nobody of that name has a home here."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)
