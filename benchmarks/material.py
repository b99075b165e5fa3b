"""Clean sounds that defects are put into: composed music (built-in synthesiser, real instrument samples), stems, speech.

Everything follows from a seed. `tune` takes seeds from 0, `judge` from 40,000 (those from 10,000 to 30,055 were
seen while thresholds moved), so what a threshold was set on is never what it is judged on. Every sound is faded in and
out, because a composed clip ends where its time is up. Knows no defect.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import soundfile
import soxr
from segue.pipeline.errors import RequestError
from segue.scoring.expected import Expected
from segue.training.corpus import Clip, make_clip

FIRST_SEED = {"tune": 0, "judge": 40_000}
SECONDS = 8.0
STRIDES = (2, 4, 4, 6, 10)  # of the decoder that is said to have made every sound
_SUSTAINED = ("strings", "woodwinds", "brass", "vocals", "synth", "keyboard")
_WORDS = (
    "The north wind and the sun were disputing which was the stronger.",
    "A traveller came along, wrapped in a warm cloak, and they agreed to try.",
    "Then the sun shone out warmly, and at once the traveller took off his cloak.",
    "She sells sea shells by the sea shore, and the shells she sells are surely shells.",
)


@dataclass(frozen=True, eq=False)
class Sound:
    """Clean samples `[C, T]`, float32. ``kind``: music, drums, sustained or speech; ``source``: how it was made; ``expected``:
    what was asked of it and is true of it; ``has``: types of defect that are true of it as it is."""

    kind: str
    source: str
    seed: int
    samples: np.ndarray
    rate_hz: int
    expected: Expected = field(default=Expected(strides=STRIDES))
    has: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.source} {self.kind} {self.seed}"


def faded(x: np.ndarray, rate_hz: int, in_s: float = 0.03, out_s: float = 0.3) -> np.ndarray:
    """With raised-cosine ramps at both edges."""
    y = np.array(x, dtype=np.float32)
    for seconds, part in ((in_s, y), (out_s, y[:, ::-1])):
        n = min(int(seconds * rate_hz), y.shape[1] // 2)
        part[:, :n] *= (0.5 - 0.5 * np.cos(np.pi * np.arange(n) / n)).astype(np.float32)
    return y


def _composed(clip: Clip, kind: str, source: str, samples: np.ndarray, rate_hz: int = 0) -> Sound:
    """A sound of a composed clip with its facts; drums have no key."""
    expected = Expected(clip.bpm, None if kind == "drums" else clip.keyscale, STRIDES)
    return Sound(kind, source, clip.seed, faded(samples, rate_hz or clip.rate_hz), rate_hz or clip.rate_hz, expected)


def _resampled(x: np.ndarray, rate_hz: int, to_hz: int) -> np.ndarray:
    return np.ascontiguousarray(soxr.resample(x.T, rate_hz, to_hz).T, dtype=np.float32)


def _synth(seed: int) -> Sound:
    clip = make_clip(seed, SECONDS)
    return _composed(clip, "music", "synth", clip.samples)


def _synth_48(seed: int) -> Sound:
    clip = make_clip(seed, SECONDS)
    made = _composed(clip, "music", "synth48", _resampled(clip.samples, clip.rate_hz, 48_000), 48_000)
    return replace(made, has=("bandwidth_cut",))  # it ends at 12 kHz


def _stem(seed: int, kind: str, source: str = "synth") -> Sound | None:
    clip = make_clip(seed, SECONDS) if source == "synth" else make_clip(seed, SECONDS, 48_000, source)
    names = [n for n in (("drums", "percussion") if kind == "drums" else _SUSTAINED) if n in clip.stems]
    if not names:
        return None
    made = _composed(clip, kind, source, clip.stems[names[0]])
    return replace(made, has=("silence",)) if _rests(made) else made


def _rests(sound: Sound) -> bool:
    """Whether half a second and more lies 60 dB under the peak: the part has a rest there."""
    heard = np.flatnonzero(np.abs(sound.samples).max(axis=0) > 1e-3 * np.abs(sound.samples).max())
    between = np.diff(heard, prepend=-1, append=sound.samples.shape[1])
    return bool(between.max() > 0.5 * sound.rate_hz)


def _fluid(seed: int) -> Sound:
    """Without the offset that samples of a sound font may carry: up to two thirds of the RMS, and then the sound isn't clean."""
    clip = make_clip(seed, SECONDS, 48_000, "fluidsynth")
    return _composed(clip, "music", "fluidsynth", clip.samples - clip.samples.mean(axis=1, keepdims=True))


def _speech(seed: int) -> Sound:
    made = subprocess.run(
        ["espeak-ng", "--stdout", "-s", str(130 + 10 * (seed % 6)), "-p", str(30 + 9 * (seed % 5)),
         " ".join(_WORDS[(seed + i) % len(_WORDS)] for i in range(2))],
        check=True, capture_output=True,
    )  # fmt: skip
    samples, rate = soundfile.read(io.BytesIO(made.stdout), always_2d=True, dtype="float32")
    return Sound("speech", "espeak-ng", seed, faded(samples.T[:, : int(SECONDS * rate)], rate), rate)


@cache
def absent() -> tuple[str, ...]:
    """What this machine can't make, with the reason; the rest is used without it."""
    reasons = []
    try:
        make_clip(0, 0.5, 24_000, "fluidsynth")
    except RequestError as error:
        reasons.append(f"real instrument samples left out: {error}".splitlines()[0])
    if shutil.which("espeak-ng") is None:
        reasons.append("speech left out: espeak-ng is not installed (Debian: apt install espeak-ng)")
    return tuple(reasons)


def sounds(first_seed: int, clips: int) -> Iterator[Sound]:
    """About `clips` clean sounds from seeds `first_seed` on, the kinds in turn."""
    missing = " ".join(absent())
    makers = [_synth, _synth_48, lambda s: _stem(s, "drums"), lambda s: _stem(s, "sustained")]
    if "instrument" not in missing:
        makers += [_fluid, _fluid, lambda s: _stem(s, "drums", "fluidsynth")]
    if "speech" not in missing:
        makers += [_speech]
    for number in range(clips):
        made = makers[number % len(makers)](first_seed + number)
        if made is not None and np.abs(made.samples).max() > 0.01:
            yield made
