"""Something costly that lives as long as one stage's work and no longer, such as weights that only this stage uses.

A stage is frozen and may be called once per take, so it can't hold the thing itself; the context it is handed lives
exactly as long as the stage's work. Knows nothing of what is kept.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")
_KEPT: weakref.WeakKeyDictionary[Any, dict[str, Any]] = weakref.WeakKeyDictionary()


def kept(ctx: object, make: Callable[[], T], what: str = "") -> T:
    """What `make` gave when `what` was first asked for under this context; it goes when the context goes."""
    things = _KEPT.setdefault(ctx, {})
    if what not in things:
        things[what] = make()
    thing: T = things[what]
    return thing
