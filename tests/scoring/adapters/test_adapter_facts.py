"""What every adapter states, and what is said when its packages are absent or do not load."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from segue.scoring.adapters import ADAPTERS, MissingExtra, load_adapter, missing_extra
from segue.scoring.adapters.protocol import import_package, mono_at, silent, windows
from segue.scoring.metrics import METRICS

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", list(ADAPTERS))
def test_facts_are_complete_and_true(name: str) -> None:
    facts = ADAPTERS[name]
    assert facts.name == name and facts.about and facts.licence and facts.source and facts.version >= 1
    assert facts.rate_hz in (16_000, 48_000)
    assert facts.metrics and all(METRICS[m].needs == name and m.startswith((name, "fad_clap")) for m in facts.metrics)
    assert {n for n, f in METRICS.items() if f.needs == name} == set(facts.metrics)
    assert facts.higher_is_better == {m: METRICS[m].higher_is_better for m in facts.metrics}
    assert all(low is None or high is None or low < high for low, high in facts.ranges.values())
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert (facts.extra is None) == (not facts.packages)
    if facts.extra is not None:
        installs = {re.match(r"[\w-]+", r)[0] for r in extras[facts.extra]}  # type: ignore[index]
        assert {distribution for _, distribution in facts.packages} <= installs


def test_every_other_figure_needs_no_adapter() -> None:
    assert {f.needs for f in METRICS.values()} == {"", "reference_clips", *ADAPTERS}
    assert not any(METRICS[m].always for facts in ADAPTERS.values() for m in facts.metrics)


@pytest.mark.parametrize("name", [n for n, f in ADAPTERS.items() if f.packages])
def test_an_absent_package_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = ADAPTERS[name]
    find = importlib.util.find_spec
    gone = {module for module, _ in facts.packages}
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n in gone else find(n, *a))
    told = missing_extra(facts)
    assert told is not None
    assert f"adapter '{name}' needs" in told.cause and f"segue-audio[{facts.extra}]" in told.fix
    with pytest.raises(MissingExtra, match=re.escape(f"segue-audio[{facts.extra}]")):
        load_adapter(name)


def test_a_package_that_does_not_load_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torchaudio's CUDA wheel beside a CPU torch: the import raises OSError."""
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text('raise OSError("libcudart.so.13: cannot open shared object file")\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    with pytest.raises(MissingExtra, match=r"does not load \(libcudart\.so\.13.*build that belongs"):
        import_package(ADAPTERS["squim"], "torchaudio")


def test_an_unknown_adapter_and_missing_references() -> None:
    with pytest.raises(ValueError, match="there is audiobox, clap"):
        load_adapter("visqol")
    with pytest.raises(ValueError, match=r"give references="):
        load_adapter("fad")


def test_importing_the_adapters_imports_no_model_library() -> None:
    code = (
        "import sys, segue.scoring.adapters\n"
        "print([m for m in ('torch', 'transformers', 'torchaudio', 'speechmos', 'onnxruntime') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_what_models_are_given() -> None:
    t = np.arange(48_000) / 48_000
    x = np.stack([np.sin(2 * np.pi * 440 * t), np.zeros_like(t)])
    mono = mono_at(x, 48_000, 16_000)
    assert mono.shape == (16_000,) and mono.dtype == np.float32
    inside = slice(500, -500)  # the resampler's edges
    np.testing.assert_allclose(mono[inside], 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)[inside], atol=1e-3)
    np.testing.assert_array_equal(mono_at(x, 48_000, 48_000), x.astype(np.float32).mean(axis=0))
    with pytest.raises(ValueError, match="NaN"):
        mono_at(np.full((1, 100), np.nan), 16_000, 16_000)
    with pytest.raises(ValueError, match="sample rate"):
        mono_at(np.zeros((1, 100)), 10, 16_000)
    assert silent(np.zeros(5)) and silent(np.zeros(0)) and not silent(np.array([0.01]))


@pytest.mark.parametrize(("size", "starts"), [(5, [0]), (10, [0]), (11, [0, 1]), (20, [0, 10]), (25, [0, 10, 15])])
def test_windows_end_with_the_sound(size: int, starts: list[int]) -> None:
    assert [int(w[0]) for w in windows(np.arange(size), 10, 10)] == starts
    assert int(windows(np.arange(size), 10, 10)[-1][-1]) == size - 1
