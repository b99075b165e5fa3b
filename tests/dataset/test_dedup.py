"""What counts as the same pair of sounds: by samples, by ear; and what doesn't."""

from __future__ import annotations

import doctest
import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile as sf
from helpers.night_folders import NightWriter
from segue.dataset import dedup, splits
from segue.dataset.dedup import HUMAN, Deduplicated, near, sound_vector, without_near, without_same
from segue.dataset.export import ExportOptions, export
from segue.dataset.export_source import Row, Sound
from segue.scoring.preferences import pairs_best_worst
from segue.training.corpus import make_clip

RATE = 24_000
Change = Callable[[np.ndarray], np.ndarray]


def sound(name: str, duration_s: float = 4.0) -> Sound:
    return Sound(0, name, name, None, None, duration_s, RATE, "base", "v")


def row(chosen: str, rejected: str, strategy: str = "any", duration_s: float = 4.0) -> Row:
    return Row(0, 0, 0, 0, f"{chosen}{rejected}", strategy, "p", sound(chosen, duration_s), sound(rejected, duration_s))


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    return [make_clip(60_000_000 + seed, 4.0).samples for seed in range(12)]


@pytest.fixture(scope="module")
def vectors(clips: list[np.ndarray]) -> np.ndarray:
    return np.stack([sound_vector(clip, RATE) for clip in clips])


def coded(kind: str) -> Change:
    def through(x: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        sf.write(buffer, x.T, RATE, format=kind)
        buffer.seek(0)
        return sf.read(buffer, always_2d=True, dtype="float32")[0].T[:, : x.shape[1]]

    return through


def hiss(x: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (x + 0.01 * np.sqrt(np.mean(x**2)) * rng.standard_normal(x.shape)).astype(np.float32)


@pytest.mark.parametrize("change", [lambda x: 0.5 * x, lambda x: np.round(x * 2**12) / 2**12, hiss, coded("MP3"), coded("OGG")],
                         ids=["quieter", "fewer bits", "hiss at -40 dB", "mp3", "vorbis"])  # fmt: skip
def test_a_sound_is_known_again(clips: list[np.ndarray], vectors: np.ndarray, change: Change) -> None:
    changed = np.stack([sound_vector(change(clip).astype(np.float32), RATE) for clip in clips])
    assert np.array_equal(near(vectors, changed), np.eye(len(clips), dtype=bool))  # each by its own, none by another


def test_takes_of_one_texture_are_not_one_sound() -> None:
    """White noise of two seeds has one spectrum; its level moves otherwise."""
    noise = [0.1 * np.random.default_rng(seed).standard_normal((2, 4 * RATE)).astype(np.float32) for seed in range(8)]
    found = np.stack([sound_vector(x, RATE) for x in noise])
    assert (found[:, :156] @ found[:, :156].T).min() > 0.99
    assert np.array_equal(near(found, found), np.eye(8, dtype=bool))


def test_steady_sounds_are_told_apart_by_their_spectrum() -> None:
    t = np.arange(2 * RATE) / RATE
    a, b, c = (sound_vector(0.1 * np.sin(2 * np.pi * f * t + phase)[None], RATE) for f, phase in ((450, 0), (450, 1), (900, 0)))
    assert near(a[None], np.stack([a, b, c])).tolist() == [[True, True, False]]


def test_silence_is_like_nothing_and_short_sounds_have_vectors() -> None:
    silence = sound_vector(np.zeros((2, RATE)), RATE)
    short = sound_vector(np.random.default_rng(0).standard_normal((1, 300)), RATE)
    assert silence.shape == short.shape == (221,) and np.isfinite(silence).all() and np.isfinite(short).all()
    assert not near(silence[None], silence[None]).any() and near(short[None], short[None]).all()


def test_of_the_same_two_sounds_one_pair_stays() -> None:
    rows = [row("a", "b"), row("c", "d"), row("a", "b", "other"), row("b", "a"), row("e", "e"), row("a", "c")]
    found = without_same(rows)
    assert found.kept == (0, 1, 5)
    assert found.dropped == {2: ("same", 0), 3: ("opposed", 0), 4: ("one_sound", None)}
    assert found.counts() == {"one_sound": 1, "same": 1, "opposed": 1, "near": 0}


def test_a_human_judgement_stands_above_the_others() -> None:
    assert without_same([row("a", "b"), row("b", "a", HUMAN), row("a", "b", "other")]).kept == (1,)
    assert without_same([row("a", "b", HUMAN), row("b", "a")]).kept == (0,)
    assert without_same([row("a", "b", HUMAN), row("b", "a", HUMAN)]).kept == (0,)


def test_a_pair_falls_only_when_both_its_sides_do(clips: list[np.ndarray], vectors: np.ndarray) -> None:
    names = dict(zip("abcdefghijkl", vectors, strict=True))
    names |= {f"{name}2": sound_vector(0.7 * clip, RATE) for name, clip in zip("abcdefghijkl", clips, strict=True)}
    rows = [row("a", "b"), row("a2", "b2"), row("a2", "c"), row("b2", "a"), row("a", "a2"), row("a3", "b", duration_s=3.9),
            row("a2", "b"), row("d", "e"), row("d2", "e2")]  # fmt: skip
    names["a3"] = names["a2"]
    found = without_near(rows, without_same(rows), names)
    assert found.kept == (0, 2, 3, 4, 5, 7)
    assert found.dropped == {1: ("near", 0), 6: ("near", 0), 8: ("near", 7)}


def test_near_pairs_are_found_as_one_by_one_would_find_them() -> None:
    """Blocks and a plain double loop agree, on vectors in clusters."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((40, 221)).astype(np.float32)
    made = centres[rng.integers(0, 40, 1300)] + 0.02 * rng.standard_normal((1300, 221)).astype(np.float32)
    for part in (slice(0, 156), slice(156, 221)):
        made[:, part] /= np.linalg.norm(made[:, part], axis=1, keepdims=True)
    rows = [row(f"c{i}", f"r{i}") for i in range(650)]
    vectors = {**{f"c{i}": made[i] for i in range(650)}, **{f"r{i}": made[650 + i] for i in range(650)}}
    found = without_near(rows, without_same(rows), vectors)
    kept: list[int] = []
    for i in range(650):
        alike = near(made[[i]], made[kept])[0] & near(made[[650 + i]], made[[650 + k for k in kept]])[0]
        if not alike.any():
            kept.append(i)
    assert found.kept == tuple(kept) and 300 < len(kept) < 650
    assert without_near([], Deduplicated((), {}), {}).kept == ()


def test_an_export_leaves_duplicates_out_and_says_so(tmp_path: Path, tiny_model: str) -> None:
    writer = NightWriter(tmp_path / "night", tiny_model)
    first = writer.group([2.0, 6.0], caption="one")
    again = writer.group([2.5, 6.5], caption="two, the same sounds")
    entries = tuple(e.model_copy(update={"take": f"000001/judged/{e.index}"}) for e in first.entries)
    writer.groups[1] = again.model_copy(update={"entries": entries})
    writer.group([3.0, 7.0], caption="three")
    pairs = [p for group in writer.groups for p in pairs_best_worst(group)]
    night = writer.end([*pairs, pairs[0].model_copy(update={"strategy": "any", "id": "another"})])
    kept = {mode: export([night], tmp_path / mode, ExportOptions(dedup=mode)) for mode in ("none", "exact", "near")}  # type: ignore[arg-type]
    assert {mode: made.pairs for mode, made in kept.items()} == {"none": 4, "exact": 2, "near": 2}
    assert kept["near"].dropped == {"same": 2}
    card = (tmp_path / "near" / "README.md").read_text(encoding="utf-8")
    assert "- 2: the same two sounds are paired already" in card


@pytest.mark.parametrize("module", (dedup, splits))
def test_examples_in_docstrings_hold(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted and not found.failed
