"""Hybrid Demucs: the real class with random weights where torchaudio is installed and loads, else skipped with the reason; what
it says of wrong weights; and the arithmetic around the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from segue.scoring.adapters import SEPARATORS, AdapterError, MissingExtra, hdemucs, load_separator, missing_extra
from segue.scoring.adapters.hdemucs import STEMS, Hdemucs, in_pieces, normalised

RATE = 48_000


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def small() -> Any:
    """torchaudio's own HDemucs for 44.1 kHz, of width 4 and random weights."""
    try:
        from torchaudio.models import HDemucs
    except (ImportError, OSError) as error:
        pytest.skip(f"torchaudio does not load: {error}")
    torch.manual_seed(0)
    return HDemucs(sources=list(STEMS), channels=4, nfft=4096, depth=6).eval()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hdemucs]:
    """A separator with `split` (`[1, 2, n]` -> `[1, 4, 2, n]`) in the model's place."""

    def make(split: Callable[[torch.Tensor], torch.Tensor]) -> Hdemucs:
        monkeypatch.setattr(hdemucs, "load_hdemucs", lambda model, device: split)
        return Hdemucs()

    return make


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
def test_random_weights_through_torchaudio(small: Any, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"weights.{ending}"
    (save_file if ending == "safetensors" else torch.save)(small.state_dict(), file)
    x = 0.1 * noise(2, 66_150)  # 1.5 s
    stems = load_separator("hdemucs", str(file)).separate(x, 44_100)
    assert tuple(stems) == STEMS
    mono = x.mean(dim=0)
    padded = torch.nn.functional.pad((x - mono.mean()) / mono.std(), (0, 441_000 - 66_150))
    with torch.inference_mode():
        expected = small(padded[None])[0, :, :, :66_150] * mono.std()
    np.testing.assert_allclose(np.stack(list(stems.values())), expected.numpy(), atol=1e-4)


def test_other_rates_and_one_channel(small: Any, tmp_path: Path) -> None:
    save_file(small.state_dict(), tmp_path / "w.safetensors")
    model = load_separator("hdemucs", str(tmp_path / "w.safetensors"))
    assert {s.shape for s in model.separate(0.1 * noise(1, 24_001), 24_000).values()} == {(1, 24_001)}


def test_weights_of_something_else_are_refused(small: Any, tmp_path: Path) -> None:
    save_file({"linear.weight": torch.zeros(2, 2)}, tmp_path / "w.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no tensors")
    (tmp_path / "broken.pt").write_bytes(b"no tensors")
    for file in ("w.safetensors", "broken.safetensors", "broken.pt", "nowhere.pt"):
        with pytest.raises(AdapterError, match=f"can't load .*{file}.*hdemucs_high"):
            load_separator("hdemucs", str(tmp_path / file))


def test_facts_and_unknown_names() -> None:
    facts = SEPARATORS["hdemucs"]
    assert (facts.rate_hz, facts.channels, facts.extra) == (44_100, 2, "torchaudio")
    assert facts.licence and facts.source and not facts.metrics
    with pytest.raises(ValueError, match="there is hdemucs"):
        load_separator("spleeter")


def test_an_absent_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None)
    assert missing_extra(SEPARATORS["hdemucs"]) is not None
    with pytest.raises(MissingExtra, match=r"segue-audio\[torchaudio\]"):
        load_separator("hdemucs")


@pytest.mark.parametrize(("channels", "wanted"), [(1, 1), (2, 2), (6, 1)])
def test_stems_have_the_mixs_rate_and_length(stand_in: Callable[..., Hdemucs], channels: int, wanted: int) -> None:
    seen: list[tuple[int, ...]] = []

    def split(x: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(x.shape))
        return torch.stack([x, 0.5 * x, 0 * x, -x], dim=1)

    t = np.arange(30_000) / RATE
    x = np.repeat(np.sin(2 * np.pi * 440 * t)[None], channels, axis=0).astype(np.float32)
    stems = stand_in(split).separate(x, RATE)
    assert set(seen) == {(1, 2, 441_000)} and {s.shape for s in stems.values()} == {(wanted, 30_000)}
    np.testing.assert_allclose(stems["drums"][:, 1000:-1000], x[:wanted, 1000:-1000], atol=2e-3)
    np.testing.assert_allclose(stems["bass"], 0.5 * stems["drums"], atol=1e-6)
    assert not stems["other"].any()


def test_nan_is_refused(stand_in: Callable[..., Hdemucs]) -> None:
    with pytest.raises(ValueError, match="NaN"):
        stand_in(lambda x: pytest.fail("a model must not see NaN")).separate(np.full((2, 1000), np.nan), RATE)


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
