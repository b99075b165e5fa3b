"""Every detector: finds what was put in, where it was put, more of it as worse, and nothing in clean music."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import butter, sosfilt, sosfiltfilt
from segue.scoring.analysis import Analysis
from segue.scoring.clipping import flat_tops, saturation
from segue.scoring.detectors import CLASSES, DETECTORS, detect
from segue.scoring.profiles import DEFECT_POINTS
from segue.scoring.report import Defect

RATE = 48_000


def found(x: np.ndarray, kind: str) -> list[Defect]:
    return [d for d in detect(Analysis(x, RATE)) if d.type == kind]


def worst(x: np.ndarray, kind: str) -> float:
    return max((d.severity for d in found(x, kind)), default=0.0)


def test_clean_music_has_no_defects(musician) -> None:
    for seed in range(3):
        x = musician(2.0, seed)  # it stops in the middle of a chord, which is a defect
        t = np.arange(x.shape[1]) / RATE
        faded = x * np.clip(np.minimum(t / 0.03, (t[-1] - t) / 0.2), 0, 1).astype(np.float32)
        assert detect(Analysis(faded, RATE)) == ()


@pytest.mark.parametrize("gain", [1.0, 0.3, 0.01])
def test_clipping_is_found_whatever_the_gain_after_it(music: np.ndarray, gain: float) -> None:
    peak = np.abs(music).max()
    severities = [worst(np.clip(music, -c * peak, c * peak) * np.float32(gain), "clipping") for c in (0.4, 0.25, 0.12)]
    assert severities == sorted(severities)
    assert 0.2 < severities[0] < severities[-1] <= 1.0


def test_clipping_lies_where_it_was_put(music: np.ndarray) -> None:
    x = music.copy()
    part = slice(2 * RATE, 3 * RATE)
    x[:, part] = np.clip(x[:, part] * 6, -0.5, 0.5)
    spans = found(x, "clipping")
    assert spans
    assert min(d.start_s for d in spans) >= 1.99
    assert max(d.end_s for d in spans) <= 3.01
    assert sum(d.end_s - d.start_s for d in spans) > 0.5


@pytest.mark.parametrize("f", [30.0, 440.0, 997.0, 6_000.0, 12_000.0])
def test_an_unclipped_tone_of_any_pitch_is_not_clipped(f: float) -> None:
    for phase in (0.0, 0.3, np.pi / 4):
        x = 0.9 * np.sin(2 * np.pi * f * np.arange(RATE) / RATE + phase)[None]
        assert flat_tops(x, RATE).share == 0.0
        assert saturation(x, RATE).share == 0.0


@pytest.mark.parametrize("bits", [16, 12, 8, 6])
def test_coarse_quantisation_is_not_clipping(music: np.ndarray, bits: int) -> None:
    steps = 2 ** (bits - 1)
    assert found(np.round(music / np.abs(music).max() * steps) / steps, "clipping") == []


def test_the_share_of_a_clipped_sine_is_known() -> None:
    x = np.sin(2 * np.pi * 100.3 * np.arange(4 * RATE) / RATE).clip(-0.8, 0.8)[None]
    assert flat_tops(x, RATE).share == pytest.approx(1 - np.arcsin(0.8) / (np.pi / 2), abs=0.02)


def test_clipping_behind_a_filter_is_saturation() -> None:
    t = np.arange(2 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * f * t + f) for f in (110.0, 164.8, 277.2))[None]
    smooth = butter(2, 15_000, fs=RATE, output="sos")
    assert worst(sosfiltfilt(smooth, chord).astype(np.float32), "saturation") == 0.0
    levels = [worst(sosfiltfilt(smooth, np.clip(chord, -c, c)).astype(np.float32), "saturation") for c in (2.0, 1.0, 0.5)]
    assert min(levels) > 0.2


def test_a_soft_curve_is_saturation_and_more_drive_is_worse(music: np.ndarray) -> None:
    clean = sosfilt(butter(2, 3_000, fs=RATE, output="sos"), music).astype(np.float32)  # its hats are noise up to half the rate
    peak = np.abs(clean).max()
    levels = [worst((np.tanh(g * clean / peak) * peak).astype(np.float32), "saturation") for g in (5.0, 10.0, 20.0)]
    assert worst(clean, "saturation") == 0.0
    assert 0.4 < levels[0] < levels[1] < levels[2]


def test_a_gain_that_holds_the_peaks_down_is_no_saturation(music: np.ndarray) -> None:
    """A limiter's slow gain brings crests under one ceiling without bending them."""
    size = RATE // 20
    peaks = maximum_filter1d(np.abs(music).max(axis=0), size)
    held = music / uniform_filter1d(maximum_filter1d(peaks, size), size)
    assert worst(held.astype(np.float32) * 0.5, "saturation") == 0.0


@pytest.mark.parametrize("length_s", [0.012, 0.05, 0.4])
def test_a_drop_out_is_found_to_the_millisecond(length_s: float) -> None:
    t = np.arange(3 * RATE) / RATE
    x = 0.2 * np.sin(2 * np.pi * 300 * t)[None].astype(np.float32)
    x[:, RATE : RATE + int(length_s * RATE)] = 0
    (gap,) = found(x, "gap")
    assert gap.start_s == pytest.approx(1.0, abs=0.002)
    assert gap.end_s == pytest.approx(1.0 + length_s, abs=0.002)
    (louder,) = found(10 * x, "gap")
    assert louder == gap


def test_a_note_that_decays_is_no_gap() -> None:
    t = np.arange(RATE) / RATE
    note = np.sin(2 * np.pi * 300 * t) * np.exp(-t * 14)
    assert found(0.5 * np.tile(note, 3)[None], "gap") == []


def test_silence_says_where(music: np.ndarray) -> None:
    x = np.pad(music, ((0, 0), (RATE, 2 * RATE)))
    first, last = found(x, "silence")
    assert (first.evidence["place"], last.evidence["place"]) == ("start", "end")
    assert first.end_s == pytest.approx(1.0, abs=0.01)
    assert last.end_s - last.start_s == pytest.approx(2.0, abs=0.05)
    assert last.severity > first.severity


def struck(music: np.ndarray, pause_s: float, dying_s: float) -> np.ndarray:
    """Music, nothing for a while, the same music; it falls by 60 dB within `dying_s` before."""
    n = max(round(dying_s * RATE), 1)
    first = music.copy()
    first[:, -n:] *= np.float32(10) ** np.linspace(0, -3, n, dtype=np.float32)
    return np.concatenate([first, np.zeros((len(music), round(pause_s * RATE)), dtype=np.float32), music], axis=1)


@pytest.mark.parametrize(("pause_s", "dying_s", "defect"), [
    (0.6, 0.3, False), (2.0, 0.3, False), (2.0, 1.0, False), (3.2, 0.3, True), (0.6, 0.02, True), (0.6, 0.0, True),
    (2.0, 0.04, True),
])  # fmt: skip
def test_a_rest_is_no_silence(music: np.ndarray, pause_s: float, dying_s: float, defect: bool) -> None:
    spans = [(d.start_s, d.end_s) for d in found(struck(music, pause_s, dying_s), "silence")]
    length_s = music.shape[1] / RATE
    assert len(spans) == defect
    if defect:
        assert spans[0] == pytest.approx((length_s, length_s + pause_s), abs=0.02 + dying_s)


def test_the_room_after_the_last_note_is_no_silence(music: np.ndarray) -> None:
    long = np.concatenate([music] * 6, axis=1)
    for pause_s, dying_s, defect in ((1.0, 0.3, False), (2.0, 0.3, False), (3.2, 0.3, True), (1.0, 0.01, True)):
        x = struck(long, pause_s, dying_s)[:, : long.shape[1] + round(pause_s * RATE)]
        assert [d.evidence["place"] for d in found(x, "silence")] == ["end"] * defect
    short = struck(long, 1.0, 0.3)[:, long.shape[1] - 3 * RATE : long.shape[1] + RATE]
    assert len(found(short, "silence")) == 1  # one second of four


@pytest.mark.parametrize("pause_s", [0.3, 4.0])
def test_silence_around_it_hides_no_noise(music: np.ndarray, pause_s: float) -> None:
    level = np.sqrt(np.square(music, dtype=np.float64).mean())
    hissing = music + (0.03 * level * np.random.default_rng(7).standard_normal(music.shape)).astype(np.float32)
    alone, pause = worst(hissing, "noise"), round(pause_s * RATE)
    assert alone > 0.1
    for around in ((pause, 0), (0, pause)):
        assert worst(np.pad(hissing, ((0, 0), around)), "noise") == pytest.approx(alone, abs=0.03)
    assert worst(np.pad(music, ((0, 0), (0, pause))), "noise") == 0.0


def test_a_rest_is_one_at_every_level(music: np.ndarray) -> None:
    for gain in (0.01, 0.3, 3.0):
        assert found(np.float32(gain) * struck(music, 1.0, 0.3), "silence") == []
        assert len(found(np.float32(gain) * struck(music, 1.0, 0.0), "silence")) == 1


@pytest.mark.parametrize(("r", "band"), [(-0.5, "mild"), (-0.9, "severe")])
def test_phase_cancellation_in_its_span(r: float, band: str) -> None:
    a, b = 0.1 * np.random.default_rng(1).standard_normal((2, 4 * RATE))
    x = np.stack([a, a])
    middle = slice(RATE, 3 * RATE)
    x[1, middle] = r * a[middle] + np.sqrt(1 - r * r) * b[middle]
    (defect,) = found(x, "phase_cancellation")
    assert (defect.start_s, defect.end_s) == (1.0, 3.0)
    assert defect.evidence["band"] == band
    assert defect.severity == pytest.approx(np.interp(-r, [0.3, 0.7, 1.0], [0.25, 0.75, 1.0]), abs=0.02)


@pytest.mark.parametrize(("r", "windows", "told"), [(-0.5, 2, False), (-0.5, 3, True), (-0.8, 1, True)])
def test_a_note_against_itself_is_no_phase_cancellation_unless_it_lasts(r: float, windows: int, told: bool) -> None:
    """Between two microphones a piano's note gets to −0.5 for a moment."""
    a, b = 0.1 * np.random.default_rng(3).standard_normal((2, 4 * RATE))
    x, note = np.stack([a, a]), slice(RATE, RATE + windows * RATE // 2)
    x[1, note] = r * a[note] + np.sqrt(1 - r * r) * b[note]
    assert bool(found(x, "phase_cancellation")) == told


def test_dc_grows_with_the_offset(music: np.ndarray) -> None:
    severities = [worst(music + np.float32(dc), "dc_offset") for dc in (0.0, 0.01, 0.03, 0.1)]
    assert severities[0] == 0.0
    assert severities == sorted(set(severities))


def test_a_bandwidth_cut_grows_as_the_edge_falls(music: np.ndarray) -> None:
    cut = [sosfilt(butter(10, f, fs=RATE, output="sos"), music).astype(np.float32) for f in (14_000, 8_000, 3_500)]
    severities = [worst(x, "bandwidth_cut") for x in cut]
    assert severities == sorted(set(severities))
    assert severities[0] > 0


def test_every_detector_says_what_it_finds() -> None:
    assert all(d.__doc__ for d in DETECTORS)


def test_every_type_of_defect_is_of_one_class_or_said_to_be_of_none() -> None:
    """A detector reports the type of its own name, so that points, classes and the page of defects can be held together."""
    types = {d.__name__ for d in DETECTORS}
    classed = [t for types_of in CLASSES.values() for t in types_of]
    assert len(CLASSES) == 7 and len(classed) == len(set(classed))
    assert types - set(classed) == {"gap", "silence", "cut_start", "cut_end", "dc_offset", "repetition"}
    assert set(classed) <= types and set(DEFECT_POINTS) <= types


@pytest.mark.parametrize(("colour_hz", "told"), [(None, True), (3_000, False)])
def test_what_sounds_before_each_attack_is_smeared_only_where_it_has_its_spectrum(colour_hz: int | None, told: bool) -> None:
    """A breath or a burst before a vowel is as loud as a smear, and of its own colour."""
    rng = np.random.default_rng(6)
    x, n = 1e-4 * rng.standard_normal((1, 5 * RATE)), int(0.02 * RATE)
    for at in range(RATE // 2, 5 * RATE - RATE // 2, RATE // 2):
        x[0, at : at + 9_600] += 0.3 * rng.standard_normal(9_600) * np.exp(-np.arange(9_600) / 2_400)
        before = rng.standard_normal(n)
        if colour_hz is not None:
            before = sosfilt(butter(2, colour_hz, "low", fs=RATE, output="sos"), before)
        x[0, at - n : at] += 0.3 * 10 ** (-14 / 20) * before / before.std()
    assert bool(found(x, "pre_echo")) == told


@pytest.mark.parametrize(("floor", "told"), [(1e-4, True), (0.0, False)])
def test_what_begins_out_of_digital_silence_is_no_smear(floor: float, told: bool) -> None:
    """A coder leaves something everywhere; a speech synthesiser's words begin out of nothing, some with a burst of their own."""
    rng = np.random.default_rng(6)
    x, n = floor * rng.standard_normal((1, 5 * RATE)), int(0.02 * RATE)
    for at in range(RATE // 2, 5 * RATE - RATE // 2, RATE // 2):
        x[0, at : at + 9_600] += 0.3 * rng.standard_normal(9_600) * np.exp(-np.arange(9_600) / 2_400)
        x[0, at - n : at] += 0.3 * 10 ** (-14 / 20) * rng.standard_normal(n)
    assert bool(found(x.astype(np.float32), "pre_echo")) == told
