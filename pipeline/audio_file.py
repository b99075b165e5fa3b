"""Sound files: what they say (`probe_audio`), their samples (`read_audio`), writing them (`write_audio`), their tags.

The one import the rest of Segue needs; the parts live in `audio_read`, `audio_write`, `audio_tags` and `audio_convert`.
Knows nothing of stages, models or the store.
"""

from __future__ import annotations

from .audio_convert import remix, resample
from .audio_read import MAX_DURATION_S, MIN_DURATION_S, AudioFacts, probe_audio, read_audio
from .audio_tags import read_tags
from .audio_write import FORMATS, PEAK_CEILING, Written, samples_sha256, write_audio

__all__ = [
    "FORMATS",
    "MAX_DURATION_S",
    "MIN_DURATION_S",
    "PEAK_CEILING",
    "AudioFacts",
    "Written",
    "probe_audio",
    "read_audio",
    "read_tags",
    "remix",
    "resample",
    "samples_sha256",
    "write_audio",
]
