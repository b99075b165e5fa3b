"""The overall figure: gates, caps, weights, gain, and that nothing harmful raises it."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import segue
import soundfile as sf
import torch
from harms import HARMS, clipped, emptied, hiss, low_passed
from segue.scoring import METRICS, QualityReport, score, score_batch
from segue.scoring.profiles import BANDS, DEFECT_POINTS, MILDEST, MOST_POINTS, PROFILES, TERMS, Band
from segue.scoring.report import Defect
from segue.scoring.scorer import SCORER_VERSION, deductions, overall

RATE = 48_000


def gapped(x: np.ndarray, rate_hz: int) -> np.ndarray:
    y = x.copy()
    y[:, rate_hz : rate_hz + rate_hz // 20] = 0
    return y


HARM = {
    **HARMS,
    "one channel inverted": lambda x, _: x * np.array([[1.0], [-1.0]]),
    "DC": lambda x, _: x + 0.05,
    "a gap": gapped,
}


@pytest.fixture(scope="module")
def untouched(musician) -> dict[int, float]:
    return {seed: score(musician(3.0, seed), RATE).overall for seed in (0, 1)}


@pytest.mark.parametrize("harm", HARM)
def test_harm_does_not_raise_the_overall_score(musician, untouched: dict[int, float], harm: str) -> None:
    for seed in (0, 1):
        x = musician(3.0, seed)
        clean = untouched[seed]
        assert score(HARM[harm](x, RATE).astype(np.float32), RATE).overall <= clean + 0.01


SHIPPED = sorted((Path(segue.__file__).parent / "presets" / "inputs").glob("*.flac"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_harm_does_not_raise_the_score_of_the_shipped_clips(path: Path) -> None:
    samples, rate = sf.read(path, always_2d=True, dtype="float32")
    x = np.ascontiguousarray(samples.T[:, : 4 * rate])
    clean = score(x, rate).overall
    for name, harm in HARM.items():  # its filters' frequencies scale with the rate
        assert score(harm(x, RATE).astype(np.float32), rate).overall <= clean + 0.01, name


@pytest.mark.parametrize(
    "ladder",
    [
        [partial(hiss, below_db=db) for db in (60, 30, 15)],
        [partial(clipped, share=c) for c in (1.0, 0.4, 0.15)],
        [partial(low_passed, edge_hz=f, order=8) for f in (20_000, 8_000, 3_000)],
        [partial(emptied, at=1.0, length_s=s) for s in (0.1, 1.0, 4.0)],
    ],
    ids=["hiss", "clipping", "low-pass", "silence"],
)
def test_more_harm_is_worse(music: np.ndarray, ladder: list) -> None:
    steps = [score(step(music, RATE).astype(np.float32), RATE).overall for step in ladder]
    assert steps == sorted(steps, reverse=True)
    assert steps[0] - steps[-1] > 0.5


@pytest.mark.parametrize("gain", [0.01, 0.5, 2.0, 30.0])
def test_a_gain_changes_neither_overall_nor_defects(music: np.ndarray, gain: float) -> None:
    quiet, loud = score(music, RATE), score(music * np.float32(gain), RATE)
    assert loud.overall == pytest.approx(quiet.overall, abs=0.011)
    assert loud.defect_types() == quiet.defect_types()
    for name in ("crest_db", "treble_db", "flatness", "stereo_correlation", "noise_floor_db", "loudness_range_lu"):
        assert loud.field(name) == pytest.approx(quiet.field(name), abs=1e-2)
    assert loud.field("integrated_lufs") - quiet.field("integrated_lufs") == pytest.approx(20 * np.log10(gain), abs=0.01)


def test_clean_music_scores_high_and_noise_low(music: np.ndarray) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, 2 * RATE))
    assert score(music, RATE).overall > 8.5
    assert score(noise, RATE).overall < 5.0


def test_no_single_term_costs_more_than_the_cap_however_weighted() -> None:
    everything = {name: (-1e12 if band.low > -1e8 else 1e12) for name, band in BANDS["music"].items()}
    defects = [Defect(type=t, severity=1, start_s=0, end_s=1) for t in DEFECT_POINTS]
    taken = deductions(everything, defects, 1.0, weights=dict.fromkeys(TERMS, 100.0))
    assert max(taken.values()) == MOST_POINTS
    assert overall(everything, defects, 1.0, weights=dict.fromkeys(TERMS, 100.0)) == 0.0
    plain = deductions(everything, defects, 1.0)
    assert all(points <= MOST_POINTS for points in plain.values())
    assert sum(plain.values()) > 10


@pytest.mark.parametrize("kind", MILDEST)
def test_a_sound_at_a_detectors_threshold_gains_nothing_below_it(kind: str) -> None:
    def cost(severity: float) -> float:
        return deductions({}, [Defect(type=kind, severity=severity, start_s=0, end_s=1)], 1.0).get(kind, 0.0)

    mildest = MILDEST[kind]
    assert cost(mildest) == 0.0 and 0.0 < cost(mildest + 0.01) < 0.05
    assert cost(1.0) == pytest.approx(DEFECT_POINTS[kind])


def test_the_mildest_severities_are_those_of_the_detectors() -> None:
    x = np.random.default_rng(0).standard_normal((2, 4 * RATE))
    turned = np.stack([x[0], -0.33 * x[0] + np.sqrt(1 - 0.33**2) * x[1]])
    lifted = x + 0.055 * np.sqrt(np.mean(x**2))
    for kind, sound in (("phase_cancellation", turned), ("dc_offset", lifted)):
        (defect,) = (d for d in score(0.1 * sound, RATE).defects if d.type == kind)
        assert defect.severity == pytest.approx(MILDEST[kind], abs=0.06)


def test_a_band_is_two_sided_and_linear_between() -> None:
    band = Band(0.0, 10.0, 20.0, 40.0, 1.0)
    assert [band.credit(v) for v in (-5, 0, 5, 10, 15, 20, 30, 40, 99)] == [0, 0, 0.5, 1, 1, 1, 0.5, 0, 0]


def test_weights_leave_a_term_out_or_raise_it(music: np.ndarray) -> None:
    dark = low_passed(music, RATE, 3_000, 8).astype(np.float32)
    plain = score(dark, RATE).overall
    without = score(dark, RATE, weights={"bandwidth": 0, "bandwidth_cut": 0}).overall
    double = score(dark, RATE, weights={"bandwidth_cut": 2}).overall
    assert double < plain < without


def test_wrong_profile_and_weights_name_the_right_ones(music: np.ndarray) -> None:
    with pytest.raises(ValueError, match="music, speech, effects"):
        score(music, RATE, profile="opera")
    with pytest.raises(ValueError, match=r"no term 'hiss'.*noise"):
        score(music, RATE, weights={"hiss": 1})
    with pytest.raises(ValueError, match="0 or more"):
        score(music, RATE, weights={"noise": -1})


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_has_the_same_terms(profile: str, music: np.ndarray) -> None:
    assert set(BANDS[profile]) == set(BANDS["music"])
    assert 0 <= score(music, RATE, profile=profile).overall <= 10


def test_the_report_declares_its_metrics_and_survives_json(music: np.ndarray) -> None:
    report = score(np.clip(music, -0.1, 0.1), RATE)
    assert list(report.metrics) == [n for n, facts in METRICS.items() if facts.always]
    for name, metric in report.metrics.items():
        assert (metric.unit, metric.higher_is_better) == (METRICS[name].unit, METRICS[name].higher_is_better)
    again = QualityReport.model_validate_json(report.model_dump_json())
    assert again == report
    json.loads(report.model_dump_json())
    assert report.scorer == f"segue-{SCORER_VERSION}/music"


def test_torch_and_numpy_a_batch_and_one_alone_are_the_same(music: np.ndarray) -> None:
    tensor = torch.from_numpy(music.copy())
    alone = score(music, RATE)
    assert score(tensor, RATE) == alone
    assert score_batch(torch.stack([tensor, tensor.flip(-1)]), RATE)[0] == alone
    assert score(music, RATE) == alone


def test_eight_seconds_of_stereo_take_well_under_a_quarter_second_of_one_core(musician) -> None:
    x = np.concatenate([musician(4.0), musician(4.0, 1)], axis=1)
    score(x, RATE)
    spent = []
    for _ in range(3):
        begun = time.process_time()
        score(x, RATE)
        spent.append(time.process_time() - begun)
    assert min(spent) < 0.25
