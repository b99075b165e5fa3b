"""Spectral detectors: each finds what was put in, more of it as worse, at any level, and nothing in clean sound."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
import soxr
from scipy.signal import sosfilt
from segue.pipeline.errors import RequestError
from segue.scoring.analysis import Analysis
from segue.scoring.detectors import DETECTORS
from segue.scoring.detectors.found import Detector
from segue.scoring.detectors.harmonic import thd
from segue.scoring.detectors.images import aliasing
from segue.scoring.detectors.missing import bandwidth_cut
from segue.scoring.detectors.resonance import comb_frequencies, decoder_comb, harsh
from segue.scoring.detectors.stereo_field import false_stereo
from segue.scoring.detectors.tonal_balance import (
    BITE_HZ,
    BITE_LINE_HZ,
    MUD_BESIDE_HZ,
    MUD_HZ,
    bite_db,
    bite_severity,
    muddy,
    over_both_sides_db,
    over_the_line_db,
)
from segue.scoring.expected import Expected
from segue.scoring.tones import THIRDS_HZ, Tones, third_octaves
from segue.training.corpus import make_clip

RATE = 24_000
STRIDES = (6, 4, 4, 10)
SPECTRAL = (aliasing, bandwidth_cut, decoder_comb, false_stereo, harsh, muddy, thd)


@lru_cache(maxsize=8)
def clip(seed: int) -> np.ndarray:
    return make_clip(seed, 8.0).samples


def severity(detector: Detector, x: np.ndarray, rate: int = RATE) -> float:
    found = detector(Analysis(np.asarray(x, dtype=np.float32), rate, Expected(strides=STRIDES)))
    return max((d.severity for d in found), default=0.0)


def bell(x: np.ndarray, hz: float, gain_db: float, q: float) -> np.ndarray:
    a, w = 10 ** (gain_db / 40), 2 * np.pi * hz / RATE
    alpha = np.sin(w) / (2 * q)
    sos = np.array([[1 + alpha * a, -2 * np.cos(w), 1 - alpha * a, 1 + alpha / a, -2 * np.cos(w), 1 - alpha / a]])
    return np.asarray(sosfilt(sos / sos[0, 3], x, axis=1))


def imaged(x: np.ndarray, level_db: float) -> np.ndarray:
    """Brought to half the rate and back with a filter that lets the images through at this level."""
    low = soxr.resample(x.T, 2, 1)
    held = np.zeros((x.shape[0], 2 * len(low)))
    held[:, ::2] = 2 * low.T
    smooth = soxr.resample(low, 1, 2).T
    size = min(held.shape[1], smooth.shape[1])
    return smooth[:, :size] + 10 ** (level_db / 20) * (held - smooth)[:, :size]


def combed(x: np.ndarray, level_db: float) -> np.ndarray:
    t = np.arange(x.shape[1]) / RATE
    lines = sum(np.cos(2 * np.pi * hz * t + hz) for hz in comb_frequencies(RATE, STRIDES)[250.0])
    return x + x.std() * 10 ** (level_db / 20) * lines


def nearly_mono(x: np.ndarray, apart: float) -> np.ndarray:
    return np.stack([x[0], x[0] + np.sqrt(2 * apart) * x.std() * np.random.default_rng(0).standard_normal(x.shape[1])])


def distorted(x: np.ndarray, percent: float) -> np.ndarray:
    t = np.arange(x.shape[1]) / RATE
    return (np.sin(2 * np.pi * 440 * t) + percent / 100 * np.sin(2 * np.pi * 880 * t))[None]


LADDERS: dict[str, tuple[Detector, Callable[[np.ndarray, float], np.ndarray], tuple[float, ...], int]] = {
    "aliasing": (aliasing, imaged, (-60.0, -48.0, -36.0, -24.0, -10.0), 1),
    "muddy": (muddy, lambda x, g: bell(x, 320, g, 1.1), (3.0, 9.0, 22.0, 26.0, 30.0), 2),
    "harsh": (harsh, lambda x, g: bell(x, 3_100, g, 25.0), (4.0, 10.0, 20.0, 26.0, 32.0), 2),
    "comb": (decoder_comb, combed, (-80.0, -62.0, -46.0, -38.0, -30.0), 2),
    "false stereo": (false_stereo, nearly_mono, (1e-2, 3e-4, 1e-4, 1e-5, 0.0), 2),
    "thd": (thd, distorted, (0.1, 0.7, 2.0, 7.0, 20.0), 1),
}


@pytest.mark.parametrize("name", LADDERS)
def test_found_and_the_more_the_worse(name: str) -> None:
    detector, damage, strengths, audible = LADDERS[name]
    for seed in (3, 9):
        found = [severity(detector, damage(clip(seed), strength)) for strength in strengths]
        assert found == sorted(found), (seed, found)
        assert min(found[audible:]) > 0 and found[-1] > found[audible], (seed, found)


@pytest.mark.parametrize("name", LADDERS)
def test_gain_changes_nothing(name: str) -> None:
    detector, damage, strengths, _ = LADDERS[name]
    x = damage(clip(3), strengths[-1])
    assert severity(detector, 0.003 * x) == pytest.approx(severity(detector, x), abs=0.02)


@pytest.mark.parametrize("seed", [0, 3, 9, 10_001])
def test_clean_music_has_none(seed: int) -> None:
    assert {d.__name__: severity(d, clip(seed)) for d in SPECTRAL} == {d.__name__: 0.0 for d in SPECTRAL}


def test_played_by_real_instruments_it_has_none_either() -> None:
    try:
        x = make_clip(5, 6.0, 48_000, "fluidsynth").samples
    except RequestError as error:
        pytest.skip(str(error).splitlines()[0])
    a = Analysis(x, 48_000, Expected(strides=(2, 4, 4, 6, 10)))
    assert [d.type for detector in SPECTRAL for d in detector(a)] == []


def test_tones_and_noise_have_none() -> None:
    t = np.arange(5 * RATE) / RATE
    rng = np.random.default_rng(0)
    tone = np.sin(2 * np.pi * 1_000 * t)[None]
    row = sum(np.sin(2 * np.pi * 150 * k * t + k) / k for k in range(1, 70))[None]
    white, pink = rng.standard_normal((2, 2, t.size))
    pink = np.fft.irfft(np.fft.rfft(pink) / np.sqrt(np.maximum(np.arange(t.size // 2 + 1), 1)), t.size)
    for x in (tone, row, white, pink):
        for detector in (aliasing, decoder_comb, false_stereo, harsh, muddy, thd):
            assert severity(detector, x) == 0.0, detector.__name__


def test_short_and_silent_sounds_have_none() -> None:
    for x in (np.zeros((2, RATE)), np.ones((2, 3)), clip(0)[:, :2_000]):
        for detector in DETECTORS:
            if detector.__name__ not in ("dc_offset", "silence", "clipping", "saturation", "gap"):
                list(detector(Analysis(x, RATE, Expected(60, "C major", STRIDES))))  # no crash is what is asked
        assert severity(muddy, x) == severity(harsh, x) == severity(decoder_comb, x) == 0.0


@pytest.mark.parametrize("rate, strides", [(48_000, (2, 4, 4, 6, 10)), (44_100, (2, 4, 4, 8, 8)), (24_000, (6, 4, 4, 10))])
def test_comb_lines_are_multiples_of_each_layers_input_rate(rate: int, strides: tuple[int, ...]) -> None:
    combs = comb_frequencies(rate, strides)
    assert list(combs) == [rate / np.prod(strides[: n + 1]) for n in range(len(strides))]
    for layer_hz, lines in combs.items():
        assert np.allclose(lines % layer_hz, 0) and (lines < rate / 2).all() and (lines > 0).all()


def test_without_strides_there_is_no_comb() -> None:
    assert list(decoder_comb(Analysis(combed(clip(3), -30.0).astype(np.float32), RATE))) == []


def test_a_faint_comb_is_told_and_notes_on_a_third_of_its_lines_are_none() -> None:
    t, rng = np.arange(6 * RATE) / RATE, np.random.default_rng(0)
    notes = sum(np.sin(2 * np.pi * 750 * k * t + k) / k for k in range(1, 16))[None] + 0.03 * rng.standard_normal((1, t.size))
    assert severity(decoder_comb, notes) == 0.0  # 250 Hz is a layer's rate
    assert severity(decoder_comb, combed(notes, -46.0)) > 0


@pytest.mark.parametrize("seed", [110_049, 120_033])
def test_images_too_faint_to_be_measured_are_faint_not_gone(seed: int) -> None:
    """At a third of 48 kHz and back: what lies above 8 kHz sinks below what can be measured while its own image, above 16, tells
    of it still."""
    x = soxr.resample(clip(seed).T, 24_000, 48_000)
    low = soxr.resample(x, 3, 1)
    held = np.zeros((2, 3 * len(low)))
    held[:, ::3] = 3 * low.T
    smooth = soxr.resample(low, 1, 3, quality="VHQ").T
    n = min(held.shape[1], smooth.shape[1])
    images = (held - smooth[:, : held.shape[1]])[:, :n]
    ladder = [severity(aliasing, smooth[:, :n] + 10 ** (db / 20) * images, 48_000) for db in (-70, -50, -36, -22, -8)]
    assert ladder == sorted(ladder) and ladder[-1] > 0.5


def test_images_say_where_and_how_strong() -> None:
    (defect,) = aliasing(Analysis(imaged(clip(3), -20.0).astype(np.float32), RATE))
    assert defect.evidence["about_hz"] == 6_000.0
    assert defect.evidence["image_db"] == pytest.approx(-20.0, abs=6.0)


def test_the_excess_of_a_shaped_noise_is_its_filters() -> None:
    rng = np.random.default_rng(1)
    f = np.fft.rfftfreq(8 * RATE, 1 / RATE)
    shape = 10 ** (-5 * np.log2(np.maximum(f, 20) / 250) / 20)
    for gain in (0.0, 8.0):
        hump = np.where((f > 170) & (f < 580), 10 ** (gain / 20), 1.0)
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(8 * RATE)) * shape * hump)[None]
        for levels in third_octaves(Tones.of(noise, RATE)):
            assert over_both_sides_db(levels, MUD_HZ, MUD_BESIDE_HZ) == pytest.approx((gain, gain), abs=1.2)
    assert THIRDS_HZ[9] == pytest.approx(250.0)


def test_the_line_is_the_sounds_own_tilt() -> None:
    for tilt_db in (-4.0, 0.0, 3.0):
        levels = tilt_db * np.log2(THIRDS_HZ / 1_000)
        assert over_the_line_db(levels, BITE_HZ, BITE_LINE_HZ) == pytest.approx(0.0, abs=1e-6)
        raised = levels + 7.0 * ((THIRDS_HZ > 1_950) & (THIRDS_HZ < 5_100))
        raised[10] -= 25.0  # one empty band does not bend the line
        assert over_the_line_db(raised, BITE_HZ, BITE_LINE_HZ) == pytest.approx(7.0, abs=0.7)
    assert over_the_line_db(np.full(THIRDS_HZ.size, np.nan), BITE_HZ, BITE_LINE_HZ) is None


def test_notes_between_two_and_five_kilohertz_are_no_bite_and_a_filter_there_is() -> None:
    """Flutes play high: their partials stand far over the tilt, what lies between them less. A filter lifts both."""
    rng = np.random.default_rng(5)
    t, f = np.arange(6 * RATE) / RATE, np.fft.rfftfreq(6 * RATE, 1 / RATE)
    tilted = np.fft.rfft(rng.standard_normal(t.size)) * np.maximum(f, 20) ** (-5 / 6)
    room, filtered = (
        np.fft.irfft(np.where((f > 1_780) & (f < 5_660), 10 ** (gain_db / 20), 1.0) * tilted)[None] for gain_db in (8.0, 12.0)
    )
    loud = np.sqrt(np.square(room).mean())
    notes = sum(0.9 * loud * np.sin(2 * np.pi * hz * t + rng.uniform(0, 6)) for hz in np.geomspace(2_000, 5_000, 9))[None]
    mean, between = (over_the_line_db(levels, BITE_HZ, BITE_LINE_HZ) for levels in Analysis(room + notes, RATE).balance)
    assert mean > 17.0 and between == pytest.approx(8.0, abs=0.5)
    assert bite_severity(bite_db(Analysis(room + notes, RATE))) == 0.0
    assert bite_severity(bite_db(Analysis(filtered, RATE))) > 0.5
    assert bite_severity(bite_db(Analysis(filtered + 0.2 * notes, RATE))) > 0.5


def test_held_notes_with_vibrato_are_no_resonance() -> None:
    t = np.arange(6 * RATE) / RATE
    held = sum(
        np.sin(2 * np.pi * 440 * k * (t + 0.004 / 5.5 * np.sin(2 * np.pi * 5.5 * t) / 6.28 * 2)) / k for k in range(1, 20)
    )
    assert severity(harsh, held[None]) == 0.0


@pytest.mark.parametrize("level_db", [-36.0, -20.0, -8.0])
def test_the_level_of_images_is_what_it_is(level_db: float) -> None:
    (defect,) = aliasing(Analysis(imaged(clip(3), level_db).astype(np.float32), RATE))
    assert defect.evidence["image_db"] == pytest.approx(level_db, abs=1.5)


def test_what_a_bass_leaves_above_it_is_no_cut() -> None:
    """A strong bass under a wide, 30 dB weaker noise: the band does not end where the bass does."""
    rng = np.random.default_rng(2)
    t = np.arange(5 * RATE) / RATE
    x = sum(np.sin(2 * np.pi * hz * t) for hz in (70, 105, 140))[None] + 0.01 * rng.standard_normal((1, t.size))
    assert severity(bandwidth_cut, x) == 0.0
    low = np.fft.irfft(np.where(np.fft.rfftfreq(t.size, 1 / RATE) < 5_000, np.fft.rfft(x), 0), t.size)
    assert severity(bandwidth_cut, low) > 0.3


def test_what_goes_on_softer_beyond_an_edge_is_no_cut_and_hiss_over_a_cut_does_not_hide_it() -> None:
    """Above its highest formant a voice falls by 15 dB within a few hertz, and goes on with every syllable."""
    rng = np.random.default_rng(4)
    t = np.arange(5 * RATE) / RATE
    syllables = 0.1 * rng.standard_normal(t.size) * (np.sin(2 * np.pi * 2 * t) > 0)
    hz, z = np.fft.rfftfreq(t.size, 1 / RATE), np.fft.rfft(syllables)
    voice, cut = (np.fft.irfft(np.where(hz > 4_000, beyond * z, z), t.size)[None] for beyond in (10 ** (-15 / 20), 0.0))
    hiss = 0.1 * 10 ** (-25 / 20) * rng.standard_normal((1, t.size))
    assert severity(bandwidth_cut, voice) == 0.0
    assert severity(bandwidth_cut, cut) == pytest.approx(severity(bandwidth_cut, cut + hiss), abs=0.02)
    assert severity(bandwidth_cut, cut) > 0.5


@pytest.mark.parametrize(("falls_db", "told"), [(60.0, False), (400.0, True)])
def test_a_treble_that_slopes_into_its_noise_is_no_cut(falls_db: float, told: bool) -> None:
    """A piano's falls by 60 dB an octave above its last partials, onto the noise of its recording; a filter's edge at once."""
    rng = np.random.default_rng(8)
    hz = np.fft.rfftfreq(5 * RATE, 1 / RATE)
    slope = 10 ** (-falls_db / 20 * np.log2(np.maximum(hz, 6_000) / 6_000))
    x = np.fft.irfft(slope * np.fft.rfft(0.1 * rng.standard_normal(5 * RATE)), 5 * RATE)
    assert (severity(bandwidth_cut, (x + 0.005 * rng.standard_normal(x.size))[None]) > 0) == told


def test_a_mono_file_and_a_wide_one_are_not_false_stereo() -> None:
    x = clip(9)
    assert severity(false_stereo, x) == 0.0
    assert severity(false_stereo, x[:1]) == 0.0
    assert severity(false_stereo, np.stack([x[0], 0.4 * x[0]])) == pytest.approx(0.5)


def test_what_has_no_bass_or_plays_in_one_register_is_not_muddy() -> None:
    """The same hump is mud in a mix, and an instrument's own register where nothing lies on one side or on both."""
    rng = np.random.default_rng(3)
    f = np.fft.rfftfreq(8 * RATE, 1 / RATE)
    z = np.fft.rfft(rng.standard_normal(8 * RATE)) * 10 ** (-5 * np.log2(np.maximum(f, 20) / 250) / 20)
    hump = np.where((f > 170) & (f < 580), 10 ** (12 / 20), 1.0)
    for cut, is_mud in ((f < 0, True), (f < 170, False), (f > 580, False), ((f < 170) | (f > 580), False)):
        x = np.fft.irfft(z * hump * np.where(cut, 1e-3, 1.0))[None]
        assert (severity(muddy, x) > 0) == is_mud


def test_more_mud_is_never_less_where_there_is_little_treble() -> None:
    rng, f = np.random.default_rng(3), np.fft.rfftfreq(8 * RATE, 1 / RATE)
    z = np.fft.rfft(rng.standard_normal(8 * RATE)) * 10 ** (-5 * np.log2(np.maximum(f, 20) / 250) / 20)
    dark, band = np.where(f > 640, 10 ** (-14 / 20), 1.0), (f > 150) & (f < 600)
    found = [severity(muddy, np.fft.irfft(z * dark * np.where(band, 10 ** (db / 20), 1.0))[None]) for db in (2, 6, 9, 12, 16)]
    assert found == sorted(found) and found[2] > 0


def test_a_resonance_is_named_where_it_is() -> None:
    (defect,) = harsh(Analysis(bell(clip(3), 2_750, 28.0, 25.0).astype(np.float32), RATE))
    assert defect.evidence["what"] == "resonance"
    assert defect.evidence["resonance_hz"] == pytest.approx(2_750, rel=0.02)


def test_what_rings_only_when_it_is_hit_is_no_resonance() -> None:
    """The same bell over everything, and over a drum alone that is hit three times a second."""
    rng = np.random.default_rng(5)
    t = np.arange(8 * RATE) / RATE
    bed, hits = rng.standard_normal((2, 1, t.size))
    drum = hits * np.exp(-(t % 0.32) / 0.015)
    assert severity(harsh, bell(0.2 * bed + drum, 2_500, 26.0, 25.0)) > 0.3
    assert severity(harsh, 0.2 * bed + bell(drum, 2_500, 26.0, 25.0)) == 0.0


def test_a_wide_hump_is_no_resonance() -> None:
    noise = np.random.default_rng(6).standard_normal((1, 8 * RATE))
    assert [severity(harsh, bell(noise, 3_000, 20.0, q)) > 0 for q in (25.0, 3.0)] == [True, False]
