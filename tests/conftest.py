"""What every test stands on: a store of its own, few threads, and no network."""

from __future__ import annotations

import atexit
import os
import shutil
import socket
import tempfile
from pathlib import Path

# before anything imports a library that reads them
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # librosa's compiled functions: workers that write one cache at a time have crashed in what they read from it
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix=f"numba-{os.environ['PYTEST_XDIST_WORKER']}-")
    atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"], ignore_errors=True)

import pytest

THREADS = 1 if "PYTEST_XDIST_WORKER" in os.environ else 2  # side by side, each process has one core


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share one process come first: the longest of these groups would otherwise end alone on one core."""
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)


class NetworkUsedError(AssertionError):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    """Before every test: a command that one of them ran may have asked for more, and two processes with two threads each wait
    for one another most of the time."""
    import torch

    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`SEGUE_HOME` of its own for every test: no test sees what another one, or the user, has stored."""
    home = tmp_path_factory.mktemp("segue-home")
    monkeypatch.setenv("SEGUE_HOME", str(home))
    monkeypatch.delenv("SEGUE_MODELS", raising=False)
    monkeypatch.delenv("SEGUE_DEBUG", raising=False)
    return home


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets to other machines are refused, with a message that says who tried."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else str(address)
            if host not in ("127.0.0.1", "::1", "localhost"):
                raise NetworkUsedError(f"a test tried to connect to {address}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds, stereo, 24 kHz: a chord, a bass and a tick every quarter second."""
    import numpy as np
    import soundfile as sf

    rate, seconds = 24_000, 2
    t = np.arange(rate * seconds) / rate
    rng = np.random.default_rng(5)
    chord = sum(np.sin(2 * np.pi * f * t) for f in (220, 277.2, 329.6, 440)) / 8
    ticks = rng.standard_normal(t.size) * np.exp(-((t % 0.25) * 60)) / 6
    left, right = chord + ticks, 0.8 * chord + np.roll(ticks, 40) + 0.2 * np.sin(2 * np.pi * 55 * t)
    path = tmp_path_factory.mktemp("clip") / "clip.wav"
    sf.write(path, np.stack([left, right], 1) * 0.5, rate, subtype="PCM_24")
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random checkpoint of 0.3 M parameters in the real format, one variant (base), 1200 Hz and 25 frames a second: what a
    run does, in milliseconds a step."""
    from segue.pipeline.models.tiny import build_tiny_acestep

    return str(build_tiny_acestep(tmp_path_factory.mktemp("tiny-model") / "base", seed=1))


@pytest.fixture(scope="session")
def clap_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLAP of random weights, saved in the real format."""
    return build_tiny_clap(tmp_path_factory.mktemp("clap-tiny"))


@pytest.fixture(scope="session")
def fused_clap_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with feature fusion for long sounds."""
    return build_tiny_clap(tmp_path_factory.mktemp("clap-fused"), fusion=True)


def build_tiny_clap(folder: Path, fusion: bool = False) -> Path:
    """Model, feature extractor and tokenizer as `save_pretrained` writes them; about 60,000 parameters."""
    import torch
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import BPE
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, ClapProcessor, PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(BPE(vocab={c: i for i, c in enumerate([*special, *alphabet])}, merges=[], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        cls_token="<s>", sep_token="</s>", mask_token="<mask>", model_max_length=512,
    )  # fmt: skip
    text = {"vocab_size": len(special) + len(alphabet), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "max_position_embeddings": 514, "projection_dim": 24}  # fmt: skip
    audio = {"num_mel_bins": 64, "spec_size": 256, "patch_size": 4, "patch_stride": [4, 4], "window_size": 8, "depths": [1, 1],
             "num_attention_heads": [1, 2], "patch_embeds_hidden_size": 8, "hidden_size": 16, "num_classes": 4,
             "projection_dim": 24, "enable_fusion": fusion, "num_hidden_layers": 2}  # fmt: skip
    torch.manual_seed(0)
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=24)).eval()
    model.save_pretrained(folder)
    extractor = ClapFeatureExtractor(truncation="fusion" if fusion else "rand_trunc", frequency_min=50)
    ClapProcessor(extractor, tokenizer).save_pretrained(folder)
    return folder
