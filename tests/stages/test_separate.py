"""Separate: what it says when torchaudio is absent or broken, and the arithmetic around the model."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from segue.pipeline.errors import RequestError
from segue.pipeline.graph_checks import build_graph
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.torchaudio_extra import import_torchaudio, torchaudio_problem
from segue.stages import separate
from segue.stages.separate import STEMS, Separate, in_pieces, normalised

HERE = importlib.util.find_spec("torchaudio") is not None


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def pipeline(**spec: object) -> Pipeline:
    return Pipeline(inputs={"mix": "mix.wav"}, stages={"voice": Separate(source="mix", stem="vocals", **spec)})  # type: ignore[arg-type]


def broken_torchaudio(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folder / "torchaudio"
    package.mkdir()
    (package / "__init__.py").write_text('raise OSError("libcudart.so.13: cannot open shared object file")\n')
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)


@pytest.mark.skipif(HERE, reason="torchaudio is installed here")
def test_absence_is_told_before_anything_runs() -> None:
    with pytest.raises(RequestError, match="not installed") as caught:
        import_torchaudio("stage type 'separate'")
    assert "segue-audio[torchaudio]" in caught.value.problems[0].fix
    with pytest.raises(RequestError, match="stage 'voice', key 'type': stage type 'separate' needs torchaudio"):
        build_graph(pipeline(), model=None)


def test_a_torchaudio_that_does_not_load_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel built against CUDA raises OSError on import beside a CPU torch: here a package that does just that."""
    broken_torchaudio(tmp_path, monkeypatch)
    problem = torchaudio_problem("stage type 'separate'")
    assert problem is not None and "does not load (libcudart.so.13" in problem.cause and "CPU torchaudio" in problem.fix


def test_importing_the_stage_does_not_import_torchaudio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken_torchaudio(tmp_path, monkeypatch)
    spec = importlib.util.spec_from_file_location("segue.stages.separate_again", separate.__file__)
    assert spec is not None and spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)  # would raise OSError
    assert again.STEMS == STEMS


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"x")
    with pytest.raises(RequestError) as caught:
        build_graph(pipeline(weights=str(tmp_path / "w.bin"), segment_s=2, overlap_s=1), model=None)
    keys = {p.key for p in caught.value.problems}
    assert {"weights", "overlap_s"} <= keys
    with pytest.raises(RequestError, match="no weights file"):
        build_graph(pipeline(weights=str(tmp_path / "missing.safetensors")), model=None)


def test_stems_are_the_four_the_model_gives() -> None:
    with pytest.raises(ValidationError, match="drums"):
        Separate(source="mix", stem="piano")  # type: ignore[arg-type]
    assert STEMS == ("drums", "bass", "other", "vocals")


@given(length=st.integers(1, 400), piece=st.integers(5, 120), share=st.floats(0, 0.49))
@settings(max_examples=60, deadline=None)
def test_pieces_of_a_pointwise_separation_join_without_a_seam(length: int, piece: int, share: float) -> None:
    overlap = min(int(piece * share), (piece - 1) // 2)
    weights = torch.tensor([0.1, -0.4, 2.0, 0.0])
    seen: list[int] = []

    def split(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.shape[-1])
        return weights[:, None, None] * x[None]

    x = noise(2, length)
    out = in_pieces(split, x, piece=piece, overlap=overlap)
    assert out.shape == (4, 2, length) and torch.allclose(out, weights[:, None, None] * x[None], atol=1e-6)
    assert set(seen) == {piece}  # the model always sees pieces of full length


def test_neighbours_fade_into_each_other() -> None:
    """A separation that answers with its call number shows the weights: 0 → 1 in a straight line over the overlap."""
    calls = iter(range(10))

    def split(x: torch.Tensor) -> torch.Tensor:
        return torch.full((1, *x.shape), float(next(calls)))

    out = in_pieces(split, noise(1, 170), piece=100, overlap=30)[0, 0]
    assert not out[:70].any() and torch.equal(out[100:], torch.ones(70))
    assert torch.allclose(out[70:100], torch.arange(1, 31) / 31)


def test_overlaps_of_half_a_piece_are_refused() -> None:
    with pytest.raises(ValueError, match="under half"):
        in_pieces(lambda x: x[None], noise(1, 100), piece=10, overlap=5)


def test_the_model_sees_mean_0_and_deviation_1_and_level_comes_back() -> None:
    def split(x: torch.Tensor) -> torch.Tensor:
        mono = x.mean(0)
        assert abs(mono.mean()) < 1e-4 and abs(mono.std() - 1) < 1e-4
        return torch.stack([x, 2 * x, 0 * x, -x])

    x = noise(2, 5000) * 0.003 + 0.2
    out = normalised(split, x)
    centred = x - x.mean()
    assert torch.allclose(out, torch.stack([centred, 2 * centred, 0 * centred, -centred]), atol=1e-6)


@pytest.mark.parametrize("length", [1, 1000])
def test_silence_gives_silent_stems(length: int) -> None:
    out = normalised(lambda x: pytest.fail("a model must not see silence"), torch.zeros(2, length))
    assert out.shape == (4, 2, length) and not out.any()
