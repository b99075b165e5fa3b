"""Separate: what it says when torchaudio is absent or broken, and what else it refuses before a run."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from segue.pipeline.errors import RequestError
from segue.pipeline.graph_checks import build_graph
from segue.pipeline.pipeline import Pipeline
from segue.pipeline.torchaudio_extra import import_torchaudio, torchaudio_problem
from segue.stages import separate
from segue.stages.separate import STEMS, Separate

HERE = importlib.util.find_spec("torchaudio") is not None


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
