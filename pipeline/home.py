"""Segue's own folder, which holds the store, the catalog and the memory of weight hashes; and what a path in a text means. Knows
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


def exists(path: Path) -> bool:
    """Whether something is there; a text that can be no path of this system (too long, with a null) is the name of nothing."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
