"""What an injector is: a known defect put into clean samples, at a known time and strength."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# (clean [C, T] float32, rate_hz, strength level 0 … 4, generator) -> (damaged [C, T'] float32, true spans in seconds)
Inject = Callable[[np.ndarray, int, int, np.random.Generator], tuple[np.ndarray, list[tuple[float, float]]]]


@dataclass(frozen=True)
class Injector:
    """``defect``: the `Defect.type` that must be found. ``strengths``: five values, weakest first, in ``unit``; those from
    index ``audible`` on are what a listener notices, and what precision and recall are judged on. ``whole``: the defect
    has no place (a hum over everything), so its span is the whole sound. ``material``: kinds of material it makes sense
    in ("music", "speech", "drums", "sustained"); ``accepts``: other types that may rightly be reported beside it;
    ``needs``: facts that must be known of the sound (`Sound.knows`), or putting it in may as well take it out: a tempo that is
    not known can't be made wrong, nor a tuning."""

    name: str
    defect: str
    strengths: tuple[float, float, float, float, float]
    unit: str
    inject: Inject
    audible: int = 2
    whole: bool = False
    material: tuple[str, ...] = ("music", "speech")
    accepts: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
