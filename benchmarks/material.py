"""Clean sounds that defects are put into: composed music (built-in synthesiser, real instrument samples), stems, speech,
and whatever sound files a folder holds.

Everything follows from a seed. `tune` takes seeds from 0, `judge` from 120,000 (those from 10,000 to 110,223 and from 200,000
on were seen while thresholds moved; two of 120,000's afterwards, for `imaging`, judged again from 135,000), so what a threshold
was set on is never what it is judged on. Every sound is faded in and out, because a composed clip ends where its time is up.
Of a file nothing is known: it may have any defect. Knows no defect.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr
from injectors.balance import bites, nearly_bites
from segue.pipeline.errors import RequestError
from segue.scoring.expected import Expected
from segue.training.corpus import Clip, make_clip

FIRST_SEED = {"tune": 0, "judge": 120_000}
SECONDS = 8.0
FILE_SECONDS = 12.0
_SUFFIXES = tuple(f".{name.lower()}" for name in (*soundfile.available_formats(), "opus", "aif", "oga"))
STRIDES = (2, 4, 4, 6, 10)  # of the decoder that is said to have made every sound
_REST_S = 0.5  # from here on it is a silence
_SUSTAINED = ("strings", "woodwinds", "brass", "vocals", "synth", "keyboard")
_VOICES = ("en-gb", "en-us", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
_SPEAKERS = ("", "+m1", "+m3", "+m5", "+m7", "+f1", "+f2", "+f3", "+f4", "+croak")
_SENTENCES = (
    "The north wind and the sun were disputing which was the stronger.",
    "A traveller came along, wrapped in a warm cloak, and they agreed to try.",
    "Then the sun shone out warmly, and at once the traveller took off his cloak.",
    "She sells sea shells by the sea shore, and the shells she sells are surely shells.",
    "How much is the fare to the old market, and does the late train still stop there?",
    "Seven hundred and forty two pages lay open on the kitchen table.",
    "Please turn the volume down before the neighbours knock on the wall again!",
    "Fresh bread, strong coffee and a quiet window are all that anybody needs.",
    "Zoe thought the fifth of these theories was, at best, half finished.",
    "In the beginning there was a hum; nobody could say where it came from.",
)


@dataclass(frozen=True, eq=False)
class Sound:
    """Clean samples `[C, T]`, float32. ``kind``: music, drums, sustained or speech; ``source``: how it was made; ``expected``:
    what was asked of it and is true of it; ``has``: types of defect that are true of it as it is; ``nearly``: those of which it
    has, as it is, nearly as much as what is put in at the first audible strength, so that it is an example of neither;
    ``beat_marked``: whether its notes mark its beats (see `_beat_marked`)."""

    kind: str
    source: str
    seed: int
    samples: np.ndarray
    rate_hz: int
    expected: Expected = field(default=Expected(strides=STRIDES))
    has: tuple[str, ...] = ()
    nearly: tuple[str, ...] = ()
    beat_marked: bool = True

    def knows(self, fact: str) -> bool:
        """Whether a field of `Expected` is known, or "beat": whether its tempo is known and its notes mark the beats."""
        return self.beat_marked and self.knows("bpm") if fact == "beat" else getattr(self.expected, fact) is not None

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
    """A sound of a composed clip with its facts; drums have no key. Instruments that bite as much as what is put in are harsh,
    and those that nearly do are an example of neither."""
    expected = Expected(clip.bpm, None if kind == "drums" else clip.keyscale, STRIDES)
    rate_hz = rate_hz or clip.rate_hz
    has = ("harsh",) if bites(samples, rate_hz) else ()
    nearly = ("harsh",) if nearly_bites(samples, rate_hz) else ()
    return Sound(kind, source, clip.seed, faded(samples, rate_hz), rate_hz, expected, has, nearly, _beat_marked(clip))


def _beat_marked(clip: Clip) -> bool:
    """Whether as great a share of the beats as of the dotted beats (every one and a half) has a note or a hit, by the score.
    Else (a waltz of bars and half bars) what is heard is another tempo, at two thirds of the one it is written in."""
    events = [event.start_s for part in (*clip.song.notes.values(), *clip.song.hits.values()) for event in part]
    at = np.array(events) * clip.bpm / 60
    beats = clip.duration_s * clip.bpm / 60

    def marked(step: float) -> float:
        grid = np.arange(0, beats - 0.1, step)
        return float(np.mean([np.abs(at - place).min() < 0.05 for place in grid]))

    return marked(1.0) >= marked(1.5)


def _resampled(x: np.ndarray, rate_hz: int, to_hz: int) -> np.ndarray:
    return np.ascontiguousarray(soxr.resample(x.T, rate_hz, to_hz).T, dtype=np.float32)


def _synth(seed: int) -> Sound:
    clip = make_clip(seed, SECONDS)
    return _composed(clip, "music", "synth", clip.samples)


def _synth_48(seed: int) -> Sound:
    clip = make_clip(seed, SECONDS)
    made = _composed(clip, "music", "synth48", _resampled(clip.samples, clip.rate_hz, 48_000), 48_000)
    return replace(made, has=(*made.has, "bandwidth_cut"))  # it ends at 12 kHz


def _stem(seed: int, kind: str, source: str = "synth") -> Sound | None:
    clip = make_clip(seed, SECONDS) if source == "synth" else make_clip(seed, SECONDS, 48_000, source)
    names = [n for n in (("drums", "percussion") if kind == "drums" else _SUSTAINED) if n in clip.stems]
    if not names:
        return None
    made = _composed(clip, kind, source, clip.stems[names[0]])
    return replace(made, has=(*made.has, "silence")) if _rests(made) or _rests_by_score(clip, names[0]) else made


def _rests(sound: Sound) -> bool:
    """Whether half a second and more lies 60 dB under the peak: the part has a rest there."""
    heard = np.flatnonzero(np.abs(sound.samples).max(axis=0) > 1e-3 * np.abs(sound.samples).max())
    between = np.diff(heard, prepend=-1, append=sound.samples.shape[1])
    return bool(between.max() > _REST_S * sound.rate_hz)


def _rests_by_score(clip: Clip, part: str) -> bool:
    """Whether no note of the part is held for half a second and more. The samples can't tell: the synthesiser's parts carry a
    noise floor some 50 dB under their notes, which goes on through their rests."""
    until, longest = 0.0, 0.0
    for note in sorted(clip.song.notes.get(part, ()), key=lambda note: note.start_s):
        longest = max(longest, min(note.start_s, clip.duration_s) - until)
        until = max(until, note.start_s + note.duration_s)
    return part in clip.song.notes and max(longest, clip.duration_s - until) >= _REST_S


def _fluid(seed: int) -> Sound:
    """Without the offset that samples of a sound font may carry: up to two thirds of the RMS, and then the sound isn't clean."""
    clip = make_clip(seed, SECONDS, 48_000, "fluidsynth")
    return _composed(clip, "music", "fluidsynth", clip.samples - clip.samples.mean(axis=1, keepdims=True))


def _speech(seed: int) -> Sound:
    """Sentences, voice, speaker, speed and pitch follow from the seed; mono, at the 22.05 kHz that espeak-ng speaks at."""
    rng = np.random.default_rng([seed, 0x5EECC])
    words = " ".join(rng.permutation(_SENTENCES)[:4])
    voice = f"{rng.choice(_VOICES)}{rng.choice(_SPEAKERS)}"
    speed, pitch = int(rng.integers(125, 200)), int(rng.integers(25, 75))
    made = subprocess.run(["espeak-ng", "--stdout", "-v", voice, "-s", str(speed), "-p", str(pitch), words],
                          check=True, capture_output=True)  # fmt: skip
    samples, rate = soundfile.read(io.BytesIO(made.stdout), always_2d=True, dtype="float32")
    made_of = Sound("speech", f"espeak-ng {voice}", seed, faded(samples.T[:, : int(SECONDS * rate)], rate), rate)
    return replace(made_of, has=("silence",)) if _rests(made_of) else made_of


def of_files(folder: Path, clips: int, seed: int = 0) -> Iterator[Sound]:
    """About `clips` stretches of 12 s (shorter files: all of them) of the sound files under a folder, places by `seed`, in
    the order of their names, spread over all of them. What libsndfile can't read is left out, and so is silence. Raises
    ValueError where there is no file it can."""
    readable = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in _SUFFIXES and path.is_file()]
    if not readable:
        raise ValueError(f"{folder} holds no sound file ({', '.join(_SUFFIXES)}); give a folder that does")
    for number in range(clips):
        path = readable[number * len(readable) // clips] if clips < len(readable) else readable[number % len(readable)]
        with soundfile.SoundFile(path) as file:
            length = min(int(FILE_SECONDS * file.samplerate), file.frames)
            rng = np.random.default_rng([seed, number])
            file.seek(int(rng.integers(0, file.frames - length + 1)))
            samples = file.read(length, dtype="float32", always_2d=True).T[:2]
            rate_hz = file.samplerate
        if samples.size and np.abs(samples).max() > 0.01:
            yield Sound("music", path.name, number, faded(samples, rate_hz), rate_hz)


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
