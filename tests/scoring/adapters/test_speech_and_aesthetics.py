"""SQUIM, DNSMOS and audiobox-aesthetics: the real packages where they are installed, else skipped with the reason; and the
adapters' own part (rates, levels, lengths, names) against stand-ins that speak the packages' interface."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from segue.scoring.adapters import ADAPTERS, AdapterError, load_adapter, missing_extra

RATE = 48_000


def sound(seconds: float, gain: float = 0.1, rate: int = RATE) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((2, int(seconds * rate)))
    return (gain * x).astype(np.float32)


def usable(name: str) -> None:
    """Skips the test where the adapter's packages are not installed or don't load, and says which."""
    missing = missing_extra(ADAPTERS[name])
    if missing is not None:
        pytest.skip(missing.cause)
    for module, _ in ADAPTERS[name].packages:
        try:
            __import__(module)
        except (ImportError, OSError) as error:
            pytest.skip(f"{module} does not load: {error}")


# ---- the real packages -----------------------------------------------------------------------------------------------


def test_squim_of_random_weights_through_torchaudio(tmp_path: Path) -> None:
    usable("squim")
    from torchaudio.models import squim_objective_base

    torch.manual_seed(0)
    real = squim_objective_base().eval()
    save_file(real.state_dict(), tmp_path / "squim.safetensors")
    torch.save(real.state_dict(), tmp_path / "squim.pt")
    x = sound(2.0, rate=16_000)
    with torch.inference_mode():
        expected = [float(v) for v in real(torch.from_numpy(x.mean(axis=0))[None])]
    for file in ("squim.safetensors", "squim.pt"):
        found = load_adapter("squim", str(tmp_path / file)).score(x, 16_000)
        assert list(found.values()) == pytest.approx(expected, abs=1e-4)
        assert list(found) == ["squim_stoi", "squim_pesq", "squim_si_sdr_db"]


def test_dnsmos_with_the_weights_it_carries() -> None:
    usable("dnsmos")
    adapter = load_adapter("dnsmos")
    for seconds in (2.0, 4.7, 9.5, 12.0):  # 4.7 s repeats to 9.4 s, where the package alone finds no window
        found = adapter.score(sound(seconds), RATE)
        assert all(v is not None and 0.5 < v < 5.5 for v in found.values()), seconds
    t = np.arange(10 * 16_000) / 16_000
    voice = 0.2 * sum(np.sin(2 * np.pi * 120 * h * t) / h for h in range(1, 20)) * (1 + np.sin(2 * np.pi * 4 * t))
    noise = np.random.default_rng(0).standard_normal(t.size)
    clean, noisy = (adapter.score((0.1 * v)[None], 16_000)["dnsmos_background"] for v in (voice, voice + noise))
    assert clean > noisy


def test_audiobox_is_the_released_package() -> None:
    usable("audiobox")
    from audiobox_aesthetics.infer import AXES_NAME, AesPredictor, initialize_predictor

    assert AXES_NAME == ["CE", "CU", "PC", "PQ"]
    assert callable(initialize_predictor) and callable(AesPredictor.forward)


# ---- the adapters' part ----------------------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts stand-in modules where the packages would be."""

    def put(**modules: Any) -> None:
        for name, content in modules.items():
            dotted = name.replace("__", ".")
            module = ModuleType(dotted)
            module.__spec__ = SimpleNamespace(name=dotted)  # type: ignore[assignment]
            for key, value in content.items():
                setattr(module, key, value)
            monkeypatch.setitem(sys.modules, dotted, module)

    return put


class Meter(torch.nn.Module):
    """Says mean, RMS and length of what it hears, as SquimObjective says its three: a tensor `[B]` each."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        assert x.ndim == 2 and x.dtype == torch.float32
        return [self.weight * x.mean(dim=1), x.square().mean(dim=1).sqrt(), torch.full((len(x),), float(x.shape[1]))]


def test_squim_hears_mono_pieces_of_ten_seconds(installed: Any, tmp_path: Path) -> None:
    installed(torchaudio={}, torchaudio__models={"squim_objective_base": Meter}, torchaudio__pipelines={})
    save_file(Meter().state_dict(), tmp_path / "w.safetensors")
    adapter = load_adapter("squim", str(tmp_path / "w.safetensors"))
    assert adapter.score(sound(25.0), RATE)["squim_si_sdr_db"] == 160_000
    assert adapter.score(sound(3.0), RATE)["squim_si_sdr_db"] == 48_000
    assert adapter.score(sound(0.2), RATE)["squim_si_sdr_db"] == 16_000
    half = np.concatenate([sound(10.0, rate=16_000), np.zeros((2, 160_000), np.float32)], axis=1)
    loud = adapter.score(half, 16_000)["squim_pesq"]  # the silent half is left out, not averaged in
    assert loud == pytest.approx(float(np.sqrt(np.mean(half[:, :160_000].mean(axis=0) ** 2))), rel=1e-3)
    assert set(adapter.score(np.zeros((1, RATE)), RATE).values()) == {None}


def test_squim_weights_that_do_not_fit_are_told(installed: Any, tmp_path: Path) -> None:
    installed(torchaudio={}, torchaudio__models={"squim_objective_base": Meter}, torchaudio__pipelines={})
    save_file({"other": torch.zeros(3)}, tmp_path / "w.safetensors")
    torch.save([1, 2], tmp_path / "w.pt")
    (tmp_path / "w.pth").write_bytes(b"no pickle")
    for name in ("w.safetensors", "w.pt", "nowhere.pt"):
        with pytest.raises(AdapterError, match="SQUIM can't load"):
            load_adapter("squim", str(tmp_path / name))


def test_dnsmos_is_never_asked_for_what_it_can_not_answer(installed: Any) -> None:
    heard: list[np.ndarray] = []

    def run(sample: np.ndarray, sr: int) -> dict[str, float]:
        assert sr == 16_000 and sample.ndim == 1 and np.abs(sample).max() <= 1.0
        assert int(np.floor(len(sample) / sr) - 9.01) + 1 > 0, "the package would find no window and give NaN"
        heard.append(sample)
        return {"ovrl_mos": 1.0, "sig_mos": 2.0, "bak_mos": 3.0, "p808_mos": np.float32(4.0)}

    installed(speechmos={}, speechmos__dnsmos={"run": run, "dnsmos": None}, onnxruntime={}, requests={})
    adapter = load_adapter("dnsmos")
    expected = {"dnsmos_overall": 1.0, "dnsmos_signal": 2.0, "dnsmos_background": 3.0, "dnsmos_p808": 4.0}
    for seconds in (0.3, 4.6, 9.02, 9.9, 10.0, 31.0):
        assert adapter.score(sound(seconds), RATE) == expected
    assert adapter.score(sound(1.0, gain=3.0), RATE) == expected
    np.testing.assert_array_equal(heard[1][:16_000], heard[1][int(4.6 * 16_000) :][:16_000])  # repeated, not padded
    assert adapter.score(np.zeros((1, RATE)), RATE) == dict.fromkeys(expected)
    with pytest.raises(AdapterError, match="carries its weights"):
        load_adapter("dnsmos", "some/model")


def test_audiobox_is_asked_as_documented(installed: Any) -> None:
    class Predictor:
        def forward(self, batch: list[dict[str, Any]]) -> list[dict[str, float]]:
            (item,) = batch
            assert item["sample_rate"] == 16_000 and item["path"].shape == (1, 32_000)
            return [{"CE": 1.0, "CU": 2.0, "PC": 3.0, "PQ": 4.0}]

    def initialize_predictor(ckpt: str | None = None) -> Predictor:
        if ckpt == "nowhere.pt":
            raise FileNotFoundError(ckpt)
        return Predictor()

    infer = {"initialize_predictor": initialize_predictor}
    installed(audiobox_aesthetics={}, audiobox_aesthetics__infer=infer, torchaudio={})
    adapter = load_adapter("audiobox")
    assert adapter.score(sound(2.0), RATE) == {"audiobox_ce": 1.0, "audiobox_cu": 2.0, "audiobox_pc": 3.0, "audiobox_pq": 4.0}
    assert set(adapter.score(np.zeros((1, RATE)), RATE).values()) == {None}
    with pytest.raises(AdapterError, match=r"can't load nowhere\.pt"):
        load_adapter("audiobox", "nowhere.pt")
