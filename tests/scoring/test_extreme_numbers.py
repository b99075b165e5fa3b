"""Numbers at the edges of what a float holds: a sane report, and figures that are right or absent, never a silent zero."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from segue.scoring import score
from segue.scoring.levels import HIGHEST, PeakMeter, non_finite_spans, true_peak
from segue.scoring.loudness import PowerMeter, loudness, loudness_of, sub_block_powers

RATE = 48_000


@pytest.mark.parametrize("value", [1e16, 1e30, 3e38, 1e300])
def test_what_no_power_can_be_taken_of_is_reported_as_no_number(music: np.ndarray, value: float) -> None:
    x = music.astype(np.float64)
    x[0, RATE : RATE + 5] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = score(x, RATE)
    assert report.overall == 0.0
    assert report.defect_types() == ("nan",)
    assert (report.defects[0].start_s, report.defects[0].end_s) == pytest.approx((1.0, 1.0 + 5 / RATE), abs=1e-5)


def test_a_gain_far_beyond_full_scale_changes_no_judgement(music: np.ndarray) -> None:
    x = music[:, : 3 * RATE]
    plain, huge = score(x, RATE), score(x * np.float32(2.0**40), RATE)
    shift = 40 * 20 * np.log10(2)
    for name in ("integrated_lufs", "true_peak_dbtp", "sample_peak_dbfs"):
        assert huge.field(name) - plain.field(name) == pytest.approx(shift, abs=1e-4)
    for name in ("crest_db", "centroid_hz", "flatness", "bandwidth_hz", "stereo_width", "loudness_range_lu", "treble_db"):
        assert huge.field(name) == pytest.approx(plain.field(name), rel=1e-4)
    assert huge.overall == pytest.approx(plain.overall, abs=0.02)
    assert not non_finite_spans(np.full((1, 4), HIGHEST, dtype=np.float32))


@pytest.mark.parametrize("value", [1e-40, 1e-45, 1e-30])
def test_denormal_samples_are_silence(value: float) -> None:
    x = value * np.sign(np.sin(np.arange(2 * RATE) * 0.1))
    report = score(np.stack([x, x]), RATE)
    assert report.overall == 0.0
    assert report.defect_types() == ("silence",)
    assert report.field("integrated_lufs") is None
    assert all(m.value is None or np.isfinite(m.value) for m in report.metrics.values())


@pytest.mark.parametrize("offset", [1.0, 0.3, -1e-3])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_nothing_but_an_offset(offset: float, channels: int) -> None:
    report = score(np.full((channels, 2 * RATE), offset), RATE)
    assert report.field("dc_offset") == pytest.approx(offset, rel=1e-6)
    assert report.field("sample_peak_dbfs") == pytest.approx(20 * np.log10(abs(offset)), abs=1e-4)
    assert report.field("crest_db") == pytest.approx(0.0, abs=1e-4)
    assert report.field("stereo_correlation") is None
    assert {"dc_offset", "silence"} & set(report.defect_types())


@pytest.mark.parametrize(("channels", "rate"), [(1, 8_000), (8, 8_000), (8, 48_000), (1, 48_000), (2, 192_000)])
def test_usual_music_in_unusual_shapes(musician, channels: int, rate: int) -> None:
    x = musician(2.0, 1, rate)[np.arange(channels) % 2]
    report = score(x, rate)
    assert report.overall > 0
    missing = {n for n, m in report.metrics.items() if m.value is None}
    alone = {"stereo_correlation", "stereo_width", "mono_loss_db"} if channels == 1 else set()
    here = {"thd_percent", "loudness_range_lu", "short_term_max_lufs", *alone}
    wanted = {"integrated_lufs", "true_peak_dbtp", "crest_db", "centroid_hz", "flatness", "bandwidth_hz", "bass_db", "dc_offset"}
    assert alone <= missing
    assert not missing & (wanted - here)


def test_a_loud_spike_leaves_the_loudness_of_what_follows_alone() -> None:
    """Windows are summed afresh: a difference of running sums would leave rounding of the spike behind."""
    x = 1e-3 * np.sin(2 * np.pi * 1000 * np.arange(10 * RATE) / RATE)[None].astype(np.float32)
    alone = sub_block_powers(x[:, 5 * RATE :], RATE)
    x[0, 100] = 1e12
    after = loudness_of(sub_block_powers(x, RATE)[-200:])
    assert after.momentary_max == pytest.approx(loudness_of(alone[-200:]).momentary_max, abs=0.01)


def test_long_silence_after_sound_is_not_slow() -> None:
    """The weighting's state would decay into denormal numbers, which cost a hundred times as much."""
    x = np.zeros((1, 60 * RATE), dtype=np.float32)
    noise = 0.1 * np.random.default_rng(0).standard_normal((1, 60 * RATE)).astype(np.float32)
    x[:, :RATE] = noise[:, :RATE]

    def spent(sound: np.ndarray) -> float:
        times = []
        for _ in range(3):
            begun = time.process_time()
            sub_block_powers(sound, RATE)
            times.append(time.process_time() - begun)
        return min(times)

    spent(noise[:, :RATE])
    assert spent(x) < 3 * spent(noise)


@pytest.mark.parametrize("rate", [8_000, 11_025, 48_000])
def test_meters_do_not_mind_where_a_sound_is_cut(rate: int) -> None:
    rng = np.random.default_rng(rate)
    x = (0.2 * rng.standard_normal((2, 7 * rate + 123))).astype(np.float32)
    powers, peaks = PowerMeter(2, rate), PeakMeter(2, rate)
    at = 0
    while at < x.shape[1]:
        size = int(rng.choice([0, 1, 7, 480, rate, 2 * rate + 5]))
        powers.add(x[:, at : at + size])
        peaks.add(x[:, at : at + size])
        at += size
    np.testing.assert_allclose(powers.powers(), sub_block_powers(x, rate), rtol=1e-9)
    assert loudness_of(powers.powers()).integrated == pytest.approx(loudness(x, rate).integrated, abs=1e-9)
    assert peaks.sample_peak == float(np.abs(x).max())
    assert peaks.true_peak() == pytest.approx(true_peak(x, rate), rel=1e-6)


@pytest.mark.parametrize("drive", [0.5, 6.0, 100.0])
def test_the_closer_bound_never_hides_a_peak(music: np.ndarray, drive: float) -> None:
    """Smooth, driven and square-like music: the same as interpolating everywhere."""
    from segue.scoring.levels import _HALF_TAPS, _interpolator

    x = np.tanh(drive * music[:, : 2 * RATE]).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (_HALF_TAPS, _HALF_TAPS))), 2 * _HALF_TAPS, axis=1)
    everywhere = max(float(np.abs(windows @ _interpolator(4)).max()), float(np.abs(x).max()))
    assert true_peak(x, RATE) == pytest.approx(everywhere, rel=1e-6)
