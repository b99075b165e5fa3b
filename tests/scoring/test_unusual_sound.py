"""Bad and unusual input: a sane report or one clear error, never a crash and never a silent zero."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.scoring import score
from segue.scoring.samples import as_samples, merged, spans

RATE = 48_000


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_gate_to_zero_and_say_where(music: np.ndarray, bad: float) -> None:
    x = music.copy()
    x[1, RATE : RATE + 10] = bad
    report = score(x, RATE)
    assert report.overall == 0.0
    assert report.defect_types() == ("nan",)
    assert report.defects[0].start_s == pytest.approx(1.0, abs=1e-4)
    assert all(m.value is None for m in report.metrics.values())


@pytest.mark.parametrize("x", [np.zeros((2, RATE)), np.full((1, 3 * RATE), 1e-6), np.zeros((1, 1_000))])
def test_silence_gates_to_zero_and_its_loudness_does_not_exist(x: np.ndarray) -> None:
    report = score(x, RATE)
    assert report.overall == 0.0
    assert report.defect_types() == ("silence",)
    assert report.field("integrated_lufs") is None


@pytest.mark.parametrize("size", [1, 2, 479])
def test_too_short_says_so(size: int) -> None:
    report = score(np.full((2, size), 0.5), RATE)
    assert report.overall == 0.0
    assert "too_short" in report.defect_types()
    assert report.field("integrated_lufs") is None
    assert report.field("sample_peak_dbfs") == pytest.approx(-6.02, abs=0.01)


@pytest.mark.parametrize(
    ("samples", "rate", "words"),
    [
        (np.zeros((2, 0)), RATE, "no sound"),
        (np.zeros((0, 5)), RATE, "no sound"),
        (np.zeros(100), RATE, r"x\[None\]"),
        (np.zeros((1, 2, 3)), RATE, "channels, samples"),
        (np.zeros((1_000, 2)), RATE, r"x\.T"),
        (np.zeros((2, 100), dtype=np.int16), RATE, "32768"),
        (torch.zeros(2, 100, dtype=torch.int32), RATE, "floating"),
        (np.zeros((2, 100)), 0, "whole Hz"),
        (np.zeros((2, 100)), 44_100.5, "whole Hz"),
        (np.zeros((2, 100)), -8_000, "whole Hz"),
    ],
)
def test_what_is_no_sound_is_one_clear_error(samples, rate, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        score(samples, rate)


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 8),
    size=st.integers(1, 30_000),
    rate=st.sampled_from([1_000, 3_000, 8_000, 11_025, 44_100, 48_000, 96_000, 192_000]),
    kind=st.sampled_from(["noise", "tone", "impulse", "constant", "huge", "tiny"]),
    seed=st.integers(0, 99),
)
def test_any_shape_rate_and_kind_gives_a_sane_report(channels: int, size: int, rate: int, kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = {
        "noise": lambda: 0.1 * rng.standard_normal((channels, size)),
        "tone": lambda: np.tile(np.sin(0.1 * np.arange(size)), (channels, 1)),
        "impulse": lambda: (np.arange(size) == size // 2)[None].repeat(channels, 0) * 1.0,
        "constant": lambda: np.full((channels, size), 0.3),
        "huge": lambda: 1e12 * rng.standard_normal((channels, size)),
        "tiny": lambda: 1e-18 * rng.standard_normal((channels, size)),
    }[kind]()
    report = score(x, rate)
    assert 0 <= report.overall <= 10
    assert report.duration_s == pytest.approx(size / rate)
    for metric in report.metrics.values():
        assert metric.value is None or np.isfinite(metric.value)
    for defect in report.defects:
        assert 0 <= defect.start_s <= defect.end_s <= report.duration_s + 1e-5
    if channels == 1:
        assert report.field("stereo_correlation") is None


def test_half_precision_and_strided_input_are_taken() -> None:
    x = torch.randn(48_000, 2).mul(0.1)
    assert score(x.T, RATE).rate_hz == RATE
    assert score(x.T.half(), RATE).overall >= 0
    assert as_samples(x.T.double(), RATE).dtype == np.float32


@given(st.lists(st.booleans(), max_size=50))
def test_spans_and_merging(mask: list[bool]) -> None:
    array = np.array(mask, dtype=bool)
    ranges = spans(array)
    rebuilt = np.zeros_like(array)
    for a, b in ranges:
        rebuilt[a:b] = True
    assert (rebuilt == array).all()
    joined = merged(ranges, 3)
    assert all(later[0] - earlier[1] >= 3 for earlier, later in itertools.pairwise(joined))


def test_a_tensor_is_brought_to_the_cpu_once(music: np.ndarray) -> None:
    copies: list[torch.dtype] = []

    class Elsewhere(torch.Tensor):
        """A tensor that counts how often it is brought to the CPU, and in which type."""

        def cpu(self) -> torch.Tensor:  # type: ignore[override]
            copies.append(self.dtype)
            return self.as_subclass(torch.Tensor)

    x = torch.tensor(music).to(torch.bfloat16)
    assert score(x.as_subclass(Elsewhere), RATE) == score(x.float(), RATE)
    assert copies == [torch.bfloat16]
