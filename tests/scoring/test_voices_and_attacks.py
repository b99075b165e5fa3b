"""Drop-outs, bursts and smears where voices and attacks look like them, or hide them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.defect_sounds import AT, RATE, chord, found, rms
from scipy.signal import butter, lfilter, sosfilt


def test_what_pauses_by_itself_has_drop_outs_only_where_they_cut_into_the_sound() -> None:
    rng, t = np.random.default_rng(8), np.arange(4 * RATE) / RATE
    syllables = np.clip((t % 0.4) / 0.004, 0, 1) * np.exp(-np.maximum((t % 0.4) - 0.2, 0) / 0.012) * ((t % 0.4) < 0.3)
    voice = 0.2 * lfilter([1], [1, -0.9], rng.standard_normal(t.size)) * syllables
    assert found(voice[None].astype(np.float32), "gap") == []
    lost = int(1.28 * RATE)
    voice[lost : lost + RATE // 20] = 0.0
    (defect,) = found(voice[None].astype(np.float32), "gap")
    assert (defect.start_s, defect.end_s) == pytest.approx((1.28, 1.33), abs=0.002)


def test_a_voice_that_pauses_once_has_no_drop_out_but_what_breaks_it_off_is_one() -> None:
    rng, n = np.random.default_rng(11), 3 * RATE
    pulses = np.zeros(n)
    pulses[:: RATE // 120] = 1.0
    heard = np.abs(np.arange(n) / RATE - 1.53) > 0.03  # no pulse for 60 ms; the last one dies away by itself
    formants = np.poly([0.97 * np.exp(1j * w) for w in (0.1, -0.1, 0.3, -0.3)]).real
    voice = lfilter([1.0], formants, pulses * heard * rng.uniform(0.7, 1.0, n))
    voice = (0.12 * voice / rms(voice)).astype(np.float32)[None]
    assert found(voice, "gap") == []
    lost = int(2.301 * RATE)
    voice[:, lost : lost + RATE // 20] = 0.0
    assert [round(d.start_s, 2) for d in found(voice, "gap")] == [2.3]


def test_a_stop_between_a_vowel_and_its_burst_is_no_drop_out_but_a_hole_in_the_vowel_is() -> None:
    rng, n = np.random.default_rng(14), 3 * RATE
    pulses = np.zeros(n)
    pulses[:: RATE // 130] = 1.0
    vowel = lfilter([1.0], np.poly([0.97 * np.exp(1j * w) for w in (0.12, -0.12, 0.35, -0.35)]).real, pulses)
    burst = sosfilt(butter(2, [5_000, 9_000], "band", fs=RATE, output="sos"), rng.standard_normal(n))
    x = 0.1 * vowel / rms(vowel)
    shut, opened, on = int(1.5 * RATE) // (RATE // 130) * (RATE // 130), int(1.56 * RATE), int(1.61 * RATE)
    x[shut:opened] = 0.0  # closes where a pulse has died away, opens with noise
    x[opened:on] = 0.06 * (burst / rms(burst))[opened:on]
    assert found(x[None].astype(np.float32), "gap") == []
    lost = int(2.203 * RATE)
    x[lost : lost + RATE // 20] = 0.0
    assert [round(d.start_s, 2) for d in found(x[None].astype(np.float32), "gap")] == [2.2]


def test_a_fricative_is_no_burst_but_noise_of_its_length_is() -> None:
    rng, n, start = np.random.default_rng(9), int(0.09 * RATE), int(AT * RATE)
    for shape, expected in ((butter(2, [4_000, 6_000], "band", fs=RATE, output="sos"), 0), (None, 1)):
        noise = rng.standard_normal(n) if shape is None else sosfilt(shape, rng.standard_normal(n))
        x = chord().copy()
        x[:, start : start + n] += (0.05 * noise / rms(noise)).astype(np.float32)
        assert len(found(x, "noise_burst")) == expected


@pytest.mark.parametrize(("tilt", "expected"), [(0.0, [(2.3, 2.42)]), (0.4, [(2.3, 2.42)]), (-0.97, [])])
def test_a_burst_is_told_through_a_voice_that_sounds_on_and_low_noise_is_none(tilt: float, expected: list[object]) -> None:
    """A vowel's formants lie in the spectrum of the whole burst; between its pulses there is the burst alone."""
    rng, n = np.random.default_rng(12), 4 * RATE
    pulses = np.zeros(n)
    pulses[:: RATE // 110] = 1.0
    voice = lfilter([1.0], np.poly([0.96 * np.exp(1j * w) for w in (0.12, -0.12, 0.5, -0.5, 1.05, -1.05)]).real, pulses)
    x = 0.1 * voice / rms(voice) + 1e-4 * rng.standard_normal(n)
    first, last = int(2.3 * RATE), int(2.42 * RATE)
    noise = lfilter([1.0], [1.0, tilt], rng.standard_normal(last - first))
    x[first:last] += 0.04 * noise / rms(noise)
    defects = found(x[None].astype(np.float32), "noise_burst")
    assert [(round(d.start_s, 2), round(d.end_s, 2)) for d in defects] == expected


@pytest.mark.parametrize("smear_db", [None, -14.0])
def test_a_smear_before_an_attack_that_takes_its_time_ends_where_the_attack_begins(smear_db: float | None) -> None:
    rng, x = np.random.default_rng(13), 1e-4 * np.random.default_rng(14).standard_normal(6 * RATE)
    n, slow = int(0.02 * RATE), int(0.012 * RATE)
    starts = range(RATE // 2, 6 * RATE - RATE, RATE // 2)
    for at in starts:
        length = RATE // 5
        rise = np.minimum(np.arange(length) / slow, 1.0) * np.exp(-np.arange(length) / (0.1 * RATE))
        x[at : at + length] += 0.3 * rise * rng.standard_normal(length)
        if smear_db is not None:
            x[at - n : at] += 0.3 * 10 ** (smear_db / 20) * rng.standard_normal(n)
    defects = found(x[None].astype(np.float32), "pre_echo")
    assert len(defects) == (0 if smear_db is None else len(starts))
    for d, at in zip(defects, starts, strict=smear_db is not None):
        assert d.end_s == pytest.approx(at / RATE, abs=0.012)  # within its rise


@pytest.mark.parametrize("left_ms", [3, 5, 10, 20])
def test_an_attack_at_the_very_end_has_nothing_told_of_it(left_ms: int) -> None:
    """What lies before it is looked for at places some of which lie beyond the sound."""
    rng = np.random.default_rng(15)
    x = 1e-4 * rng.standard_normal((1, 2 * RATE))
    x[:, -left_ms * RATE // 1000 :] += 0.3 * rng.standard_normal((1, left_ms * RATE // 1000))
    assert found(x.astype(np.float32), "pre_echo") == []
