"""What a prompt is an example of, for balance: its tags, its tempo's band, its key. Pure."""

from __future__ import annotations

from .prompt_sources import TaggedPrompt

BAND_BPM = 20
"""Width of a band of tempo; bands are 10–29, 30–49 … 90–109 …"""


def strata_of(prompt: TaggedPrompt) -> dict[str, str]:
    """The strata of a prompt: its tags, and where those do not say it, `bpm` (a band of 20) and `keyscale`.

    >>> strata_of(TaggedPrompt(caption="slow", bpm=96, keyscale="C major", tags={"genre": "jazz"}))
    {'genre': 'jazz', 'bpm': '90-109', 'keyscale': 'C major'}
    """
    found = dict(prompt.tags)
    if prompt.bpm is not None:
        found.setdefault("bpm", tempo_band(prompt.bpm))
    if prompt.keyscale is not None:
        found.setdefault("keyscale", prompt.keyscale)
    return found


def tempo_band(bpm: int) -> str:
    """The band a tempo lies in.

    >>> tempo_band(89), tempo_band(90), tempo_band(109)
    ('70-89', '90-109', '90-109')
    """
    low = (bpm - 10) // BAND_BPM * BAND_BPM + 10
    return f"{low}-{low + BAND_BPM - 1}"
