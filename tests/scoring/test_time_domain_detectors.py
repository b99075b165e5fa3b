"""Detectors of the time domain: each finds what was put in, where it was put, more of it as worse, at any gain, and leaves
alone what only looks like it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from helpers.defect_sounds import AT, RATE, chord, faded, found, rms
from scipy.ndimage import maximum_filter1d, minimum_filter1d, uniform_filter1d
from scipy.signal import butter, lfilter, sosfilt
from segue.training.corpus import make_clip


@lru_cache(maxsize=1)
def clip() -> np.ndarray:
    made = faded(make_clip(5, 6.0).samples)
    made.setflags(write=False)
    return made


def clicked(x: np.ndarray, level: int) -> np.ndarray:
    y = x.copy()
    y[:, int(AT * RATE)] += 1.0 * rms(x) * 1.7**level
    return y


def jumped(x: np.ndarray, level: int) -> np.ndarray:
    y = x.copy()
    start = int(AT * RATE)
    y[:, start:] += (1.2 * rms(x) * 1.6**level * np.exp(-np.arange(x.shape[1] - start) / (0.02 * RATE))).astype(np.float32)
    return y


def begun_late(x: np.ndarray, level: int) -> np.ndarray:
    y = x[:, int(AT * RATE) :].copy()
    n = int(0.05 * RATE)
    y[:, :n] *= np.linspace(10 ** ((level - 4) / 4), 1, n, dtype=np.float32)
    return y


def stopped_early(x: np.ndarray, level: int) -> np.ndarray:
    return np.ascontiguousarray(begun_late(x[:, ::-1], level)[:, ::-1])


def humming(x: np.ndarray, level: int, base: float = 50.0) -> np.ndarray:
    t = np.arange(x.shape[1]) / RATE
    wave = sum(np.sin(2 * np.pi * base * k * t + k) / k**0.5 for k in (1, 2, 3, 4, 5, 6, 8))
    return (x + wave / rms(wave) * rms(x) * 10 ** ((5 * level - 30) / 20)).astype(np.float32)


def hissing(x: np.ndarray, level: int) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal(x.shape)
    return (x + noise * rms(x) * 10 ** ((5 * level - 32) / 20)).astype(np.float32)


def bursting(x: np.ndarray, level: int) -> np.ndarray:
    y, start, n = x.copy(), int(AT * RATE), int(0.1 * RATE)
    noise = np.random.default_rng(2).standard_normal((len(x), n))
    y[:, start : start + n] += (noise * rms(x) * 0.7 * 1.6**level).astype(np.float32)
    return y


def squeezed(x: np.ndarray, level: int) -> np.ndarray:
    driven = x * np.float32(10 ** ((4 + 3 * level) / 20))
    ceiling = np.abs(x).max()
    gain = np.minimum(1, ceiling / np.maximum(maximum_filter1d(np.abs(driven).max(axis=0), 145), 1e-9))
    gain = uniform_filter1d(minimum_filter1d(gain, 480), 72)
    return np.clip(driven * gain, -ceiling, ceiling).astype(np.float32)


def looped(x: np.ndarray, level: int) -> np.ndarray:
    start, n = int(AT * RATE), RATE
    piece = x[:, start - n : start]
    return np.concatenate([x[:, :start], *[piece] * (level + 1), x[:, start:]], axis=1)


def smeared(x: np.ndarray, level: int) -> np.ndarray:
    """Drum-like attacks twice a second with noise over the 20 ms before each."""
    rng = np.random.default_rng(3)
    y, n = 0.003 * rng.standard_normal((1, 6 * RATE)), int(0.02 * RATE)
    for k in range(1, 12):
        at = k * RATE // 2
        hit = rng.standard_normal(RATE // 5) * np.exp(-np.arange(RATE // 5) / (0.04 * RATE))
        y[0, at : at + hit.size] += 0.4 * hit
        y[0, at - n : at] += 0.4 * 10 ** ((4 * level - 30) / 20) * rng.standard_normal(n)
    return faded(y)


# what makes it, how it is called, where it lies (None: everywhere)
LADDERS: dict[str, tuple[Callable[[np.ndarray, int], np.ndarray], str, tuple[float, float] | None]] = {
    "impulse": (clicked, "click", (AT, AT)),
    "jump": (jumped, "click", (AT, AT)),
    "late start": (begun_late, "cut_start", (0.0, 0.01)),
    "early stop": (stopped_early, "cut_end", (3.49, 3.5)),
    "hum": (humming, "hum", None),
    "hiss": (hissing, "noise", None),
    "burst": (bursting, "noise_burst", (AT, AT + 0.1)),
    "limiter": (squeezed, "over_compression", None),
    "loop": (looped, "repetition", None),
    "pre-echo": (smeared, "pre_echo", None),
}


@pytest.mark.parametrize("name", LADDERS)
def test_found_in_its_place_rising_with_strength_and_at_any_gain(name: str) -> None:
    make, kind, span = LADDERS[name]
    clean = chord() if name in ("impulse", "jump", "hum") else clip()
    if name != "pre-echo":
        assert found(clean, kind) == found(clip(), kind) == []
    steps = [found(make(clean, level), kind) for level in range(5)]
    worst = [max((d.severity for d in step), default=0.0) for step in steps]
    assert worst == sorted(worst)
    assert worst[-1] > worst[1] > 0
    if span is not None:
        assert abs(min(d.start_s for d in steps[-1]) - span[0]) < 0.05
        assert abs(max(d.end_s for d in steps[-1]) - span[1]) < 0.05
    for gain in (0.02, 3.0):
        again = found(make(clean, 4) * np.float32(gain), kind)
        assert [(d.start_s, d.end_s) for d in again] == [(d.start_s, d.end_s) for d in steps[-1]]
        assert [d.severity for d in again] == pytest.approx([d.severity for d in steps[-1]], abs=0.01)


def test_a_loop_says_where_and_how_far_back() -> None:
    defects = found(looped(clip(), 2), "repetition")
    assert defects[0].start_s == pytest.approx(AT, abs=0.05)
    assert defects[-1].end_s == pytest.approx(AT + 3, abs=0.05)
    assert defects[0].evidence["lag_s"] == pytest.approx(1.0, abs=1e-3)


def test_hum_tells_fifty_from_sixty() -> None:
    for base in (50.0, 59.95):
        assert found(humming(chord(), 2, base), "hum")[0].evidence["base_hz"] == pytest.approx(base, abs=0.2)


def test_hum_is_heard_between_the_notes_of_a_bass() -> None:
    x = innocent("bass line in G")  # 49 Hz
    t = np.arange(x.shape[1]) / 48_000
    hum = sum(np.sin(2 * np.pi * 50 * k * t + k) / k for k in (1, 2, 3, 4))
    (defect,) = found((x + 0.06 * rms(x) * hum).astype(np.float32), "hum", 48_000)
    assert defect.evidence["base_hz"] == pytest.approx(50.0, abs=0.05)


@pytest.mark.parametrize("under_db", [None, 20.0, 17.0, 11.0])
def test_hum_is_heard_under_drums_that_repeat_exactly(under_db: float | None) -> None:
    """Their lines at every multiple of the bar's rate are as sure as any; those of the hum lie in between."""
    x = make_clip(10, 8.0).stems["drums"]
    t = np.arange(x.shape[1]) / RATE
    hum = sum(np.sin(2 * np.pi * 49.98 * k * t + k) / k for k in range(1, 6))
    y = x if under_db is None else (x + rms(x) * 10 ** (-under_db / 20) * hum).astype(np.float32)
    assert len(found(y, "hum")) == (under_db is not None)


@pytest.mark.parametrize("part", [0.0, 0.25, 0.5, 0.75])
def test_a_click_is_found_wherever_it_lies_in_the_block_it_spoils(part: float) -> None:
    x = chord().copy()
    at = int((AT + 0.02 * part) * RATE)
    x[:, at] += 0.5 * rms(x)
    (defect,) = found(x, "click")
    assert defect.start_s == pytest.approx(at / RATE, abs=0.001)


def test_a_loop_is_found_in_a_sound_that_hardly_changes() -> None:
    rng, t = np.random.default_rng(6), np.arange(6 * RATE) / RATE
    wave = sum((1 + 0.4 * np.sin(4 * t + f)) * np.sin(2 * np.pi * f * t) for f in (220.0, 277.18, 329.63))
    pad = faded(0.1 * wave + 0.01 * rng.standard_normal(t.size))
    assert found(pad, "repetition") == []
    assert found(looped(pad, 0), "repetition")[0].evidence["lag_s"] == pytest.approx(1.0, abs=1e-3)


def test_padding_a_cut_with_silence_hides_nothing() -> None:
    x = stopped_early(clip(), 4)
    (early,) = found(np.pad(x, ((0, 0), (0, RATE))), "cut_end")
    assert early.end_s == pytest.approx(3.5, abs=0.001)


@pytest.mark.parametrize("late_s", [0.0, 0.0016])
def test_a_note_or_a_drum_that_begins_at_once_is_not_cut(late_s: float) -> None:
    u, rng = np.maximum(np.arange(RATE) / RATE - late_s, 0.0), np.random.default_rng(12)
    skin = np.sin(2 * np.pi * 60 * u) * np.minimum(u / 0.03, 1) + 0.02 * rng.standard_normal(RATE) * np.minimum(u / 0.01, 1)
    for x in (skin * np.exp(-8 * u), np.sin(2 * np.pi * 98 * u) * np.minimum(u / 0.02, 1) * np.exp(-3 * u)):
        assert found(0.3 * x[None], "cut_start") == []


@pytest.mark.parametrize("phase", [0.0, 0.3, np.pi / 2])
def test_a_tone_is_cut_wherever_in_its_period_it_begins(phase: float) -> None:
    wave = 0.2 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE + phase)[None]
    assert len(found(wave, "cut_start")) == len(found(np.ascontiguousarray(wave[:, ::-1]), "cut_end")) == 1


@pytest.mark.parametrize(("at_db", "told"), [(-20.0, True), (-36.0, True), (-46.0, False)])
def test_a_cut_under_a_short_fade_is_told_until_nobody_hears_it(at_db: float, told: bool) -> None:
    wave = 0.2 * np.cos(2 * np.pi * 440 * np.arange(RATE) / RATE)[None]
    n = RATE // 5
    wave[:, :n] *= np.linspace(10 ** (at_db / 20), 1, n)
    assert bool(found(wave.astype(np.float32), "cut_start")) == told


@pytest.mark.parametrize("rate", [4.0, 10.0, 12.5])
def test_what_is_played_again_and_again_is_no_hum(rate: float) -> None:
    """Equal hits have lines at every multiple of their rate, those of the mains among them; at 4 Hz the pitch of the hit itself,
    180 Hz, is one of these."""
    u = (np.arange(8 * RATE) / RATE) % (1 / rate)
    hits = np.sin(2 * np.pi * 180 * u) * np.exp(-u * 15) + 0.01 * np.random.default_rng(13).standard_normal(u.size)
    assert found(faded(0.3 * hits), "hum") == []


def _hits(t: np.ndarray, rng: np.random.Generator, hit: Callable[[np.ndarray], np.ndarray], every: float) -> np.ndarray:
    y = np.zeros(t.size)
    for at in np.arange(0.25, t[-1] - 0.5, every):
        start = int((at + rng.uniform(0, 0.01)) * 48_000)
        u = t[: min(24_000, t.size - start)]
        y[start : start + u.size] += rng.uniform(0.6, 1.0) * hit(u) * np.clip((0.48 - u) * 10, 0, 1)
    return y


def innocent(name: str) -> np.ndarray:
    """Clean sounds that resemble a defect, 4 s at 48 kHz."""
    rate = 48_000
    rng, t = np.random.default_rng(4), np.arange(4 * rate) / rate
    saw = lambda f: sum(np.sin(2 * np.pi * f * k * t) / k for k in range(1, int(20_000 / f)))  # noqa: E731
    saws = lambda *fs: sum(saw(f * (1 + 0.002 * i)) for i, f in enumerate(fs))  # noqa: E731
    noise = lambda u: rng.standard_normal(u.size)  # noqa: E731
    attack = lambda u, s: np.minimum(u / s, 1)  # noqa: E731
    made: dict[str, Callable[[], np.ndarray]] = {
        "tone": lambda: np.sin(2 * np.pi * 440 * t),
        "tone at 100 Hz": lambda: np.sin(2 * np.pi * 100 * t),
        "vibrato": lambda: np.sin(2 * np.pi * 440 * t + 4 * np.sin(2 * np.pi * 5.5 * t)),
        "saw bass": lambda: saw(41.2),
        "bass line in G": lambda: _hits(t, rng, lambda u: np.sin(2 * np.pi * 49 * u) * np.exp(-u * 3) * attack(u, 0.005), 0.5),
        "square lead": lambda: np.sign(np.sin(2 * np.pi * 220.3 * t)) + 0.001 * rng.standard_normal(t.size),
        "noise bed": lambda: lfilter([1], [1, -0.95], rng.standard_normal(t.size)),
        "kick": lambda: _hits(
            t, rng, lambda u: np.sin(2 * np.pi * (50 * u + 6 * (1 - np.exp(-u / 0.03)))) * np.exp(-u * 9) * attack(u, 0.001), 0.5
        ),
        "snare": lambda: _hits(t, rng, lambda u: noise(u) * np.exp(-u * 18) * attack(u, 0.0005), 0.5),
        "gated snare": lambda: _hits(t, rng, lambda u: noise(u) * np.exp(-u * 6) * (u < 0.18) * attack(u, 0.001), 0.5),
        "hats": lambda: _hits(t, rng, lambda u: np.gradient(noise(u)) * np.exp(-u * 60) * attack(u, 0.0003), 0.125),
        "clave": lambda: _hits(t, rng, lambda u: np.sin(2 * np.pi * 2_500 * u) * np.exp(-u * 80) * attack(u, 0.0008), 0.4),
        "mallets": lambda: _hits(t, rng, lambda u: np.sin(2 * np.pi * 523 * u) * np.exp(-u * 6) * attack(u, 0.002), 0.3),
        "distorted guitar": lambda: np.tanh(8 * saws(82.4, 123.5, 164.8)) * (1 + 0.3 * np.sin(2 * np.pi * 0.7 * t)),
        "pumping pad": lambda: saws(220, 277, 330) * uniform_filter1d(np.minimum(1, 0.1 + ((2 * t) % 1) * 2), 96),
        "trance gate": lambda: saws(220, 277, 330) * uniform_filter1d(((8 * t) % 1 < 0.6).astype(float), 480),
        "long fade": lambda: saws(110, 220) * np.linspace(1, 0, t.size) ** 2,
        "pulses of a voice": lambda: sosfilt(
            butter(2, [500, 1_500], "band", fs=rate, output="sos"),
            (np.diff(np.floor(t * 110 + 0.2 * np.sin(5 * t)), prepend=0) > 0) * 1.0,
        ),
        "swelling noise": lambda: rng.standard_normal(t.size) * ((t % 1) ** 3),
    }
    y = faded(made[name](), rate)
    return 0.3 * y / np.abs(y).max()


INNOCENT = (
    "tone", "tone at 100 Hz", "vibrato", "saw bass", "bass line in G", "square lead", "noise bed", "kick", "snare",
    "gated snare", "hats", "clave", "mallets", "distorted guitar", "pumping pad", "trance gate", "long fade",
    "pulses of a voice", "swelling noise",
)  # fmt: skip
KINDS = ("click", "cut_start", "cut_end", "hum", "noise", "noise_burst", "pre_echo", "over_compression", "repetition", "gap")


@pytest.mark.parametrize("name", INNOCENT)
def test_what_only_resembles_a_defect_is_left_alone(name: str) -> None:
    allowed = {"noise bed": {"noise"}, "gated snare": {"cut_end"}, "vibrato": {"repetition"}}.get(name, set())  # they are
    x = innocent(name)
    assert {kind for kind in KINDS if found(x, kind, 48_000)} <= allowed


@pytest.mark.parametrize("seed", [3, 8])
def test_composed_music_and_its_drums_are_left_alone(seed: int) -> None:
    made = make_clip(seed, 6.0)
    for x in (made.samples, *[s for name, s in made.stems.items() if name in ("drums", "bass")]):
        assert {kind for kind in KINDS if found(faded(x), kind)} == set()


def test_a_clipped_passage_is_found_to_its_ends_though_louder_sound_lies_beside_it() -> None:
    t = np.arange(4 * RATE) / RATE
    x = 0.5 * np.sin(2 * np.pi * 220 * t) * (1 + 0.2 * np.sin(2 * np.pi * 1.3 * t))
    first, last = int(1.05 * RATE), int(2.55 * RATE)
    x[first:last] = x[first:last].clip(-0.3, 0.3)
    defects = found(x[None].astype(np.float32), "clipping")
    assert defects[0].start_s == pytest.approx(1.05, abs=0.005)
    assert defects[-1].end_s == pytest.approx(2.55, abs=0.005)


def test_a_click_hidden_by_attacks_of_its_size_is_not_told_from_them() -> None:
    x = innocent("pulses of a voice")
    start = int(2.0 * 48_000)
    own = np.abs(np.diff(x[:, start - 1_000 : start + 1_000])).max()
    for size, expected in ((0.3, 0), (12.0, 1)):
        y = x.copy()
        y[:, start] += size * own
        assert len(found(y, "click", 48_000)) == expected
