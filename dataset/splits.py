"""Which split a pair belongs to: by a hash of its prompt, so that a prompt is never on both sides, and stays where it is when
the dataset grows."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping

from ..pipeline.errors import Problem, RequestError

DEFAULT = "train=0.9,test=0.1"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")


def parse_splits(text: str) -> dict[str, float]:
    """``train=0.9,test=0.1`` as name -> share, in that order. Raises RequestError with everything wrong about it.

    >>> parse_splits("train=0.9,test=0.1")
    {'train': 0.9, 'test': 0.1}
    """
    found: dict[str, float] = {}
    problems = []
    for part in text.split(","):
        name, _, share = (piece.strip() for piece in part.partition("="))
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if not _NAME.fullmatch(name) or name == "all":
            problems.append(Problem(f"--splits: {name!r} can't name a split", "letters, digits and '_': train=0.9,test=0.1"))
        elif not 0 < value <= 1:
            problems.append(Problem(f"--splits: the share of {name} is {share or 'missing'}", "a number above 0, at most 1"))
        elif name in found:
            problems.append(Problem(f"--splits names {name} twice", "write it once"))
        else:
            found[name] = value
    total = math.fsum(found.values())
    if not problems and abs(total - 1) > 1e-9:
        problems.append(Problem(f"--splits: the shares add up to {total:g}", "make them add up to 1, e.g. train=0.9,test=0.1"))
    if problems:
        raise RequestError(problems)
    return found


def split_of(prompt: str, splits: Mapping[str, float]) -> str:
    """The split of a prompt, named by a digest of its facts: SHA-256 over ``segue.split.1`` and the digest, its first eight
    bytes as a number in [0, 1), laid over the shares in their order.

    >>> [split_of(prompt, {"train": 0.5, "test": 0.5}) for prompt in ("a", "b", "c")]
    ['train', 'train', 'test']
    """
    value = int.from_bytes(hashlib.sha256(f"segue.split.1\0{prompt}".encode()).digest()[:8], "big") / 2**64
    reached = 0.0
    for name, share in splits.items():
        reached += share
        if value < reached:
            return name
    return name
