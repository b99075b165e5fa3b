"""What is told before a run begins: model, files and graph in one error."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from segue import Pipeline, Prompt
from segue.pipeline.errors import RequestError
from segue.pipeline.prepare import prepare
from segue.stages import Generate, Refine, Score


def test_a_damaged_variant_hides_no_fault_of_the_graph(tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variants of this name are folders of their own, looked at only when one is asked for."""
    folder = shutil.copytree(tiny_model, tmp_path / "acestep-v15-base")
    weights = next((folder / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-10])
    monkeypatch.setenv("SEGUE_MODELS", str(tmp_path))
    stages = {"draft": Generate(variant="base"), "next": Refine(source="drafd", variant="base"), "judged": Score(source="clip")}
    pipeline = Pipeline(model="acestep-v15", prompt=Prompt(duration_s=1), inputs={"clip": "gone.wav"}, stages=stages)
    with pytest.raises(RequestError) as caught:
        prepare(pipeline, offline=True)
    found = {(p.stage, p.key): p.cause for p in caught.value.problems}
    assert set(found) == {(None, "model"), ("next", "source"), (None, "inputs.clip")}
    assert "is damaged" in found[None, "model"]


def test_a_home_that_is_nobodys_is_a_path_like_any_other() -> None:
    pipeline = Pipeline(inputs={"clip": "~nobody-of-that-name/x.wav"}, stages={"judged": Score(source="clip")})
    with pytest.raises(RequestError, match="does not exist"):
        prepare(pipeline)
