"""CLAP through transformers: does a sound agree with a text (Wu et al. 2023, arXiv 2211.06687, §3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..samples import Array
from .protocol import AdapterError, AdapterFacts, mono_at, silent, windows

RATE_HZ = 48_000
TEXT_TOKENS = 77  # what the model was trained with; longer texts are cut
_BATCH = 8

FACTS = AdapterFacts(
    name="clap",
    about="agreement of sound and text: cosine of their CLAP embeddings",
    version=1,
    licence="code Apache-2.0 (transformers); weights of laion/clap-htsat-unfused Apache-2.0",
    rate_hz=RATE_HZ,
    ranges={"clap_similarity": (-1.0, 1.0)},
    source="Wu et al. 2023, arXiv 2211.06687; transformers.ClapModel",
    model="local folder (model and processor, safetensors) or hub id",
    default_model="laion/clap-htsat-unfused",
    needs_text=True,
)


class Clap:
    """A CLAP model with its processor, from a folder or the hub. Raises AdapterError when it can't be loaded."""

    facts = FACTS

    def __init__(self, model: str | None = None, device: str = "cpu") -> None:
        from transformers import AutoFeatureExtractor, AutoTokenizer, ClapModel

        name = model or str(FACTS.default_model)
        try:
            self._extractor = AutoFeatureExtractor.from_pretrained(name, trust_remote_code=False)
            self._tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            self._model = ClapModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise AdapterError(
                f"the CLAP model '{name}' can't be loaded: {str(error)[:300]} Give `model` a local folder with config.json, "
                "preprocessor_config.json, the tokenizer's files and model.safetensors, or a hub id that can be reached."
            ) from error
        self._model.to(device).eval()
        self._device = device
        self._texts: dict[str, Array] = {}

    def score(self, samples: Any, rate_hz: int, *, text: str | None = None) -> dict[str, float | None]:
        """`clap_similarity`: cosine of the text's embedding and the mean of the sound's, −1 … 1."""
        if not text or not text.strip():
            return {"clap_similarity": None}
        rows = self.embed(samples, rate_hz)
        if not len(rows):
            return {"clap_similarity": None}
        mean = rows.mean(axis=0)
        size = float(np.linalg.norm(mean))
        return {"clap_similarity": float(np.clip(mean @ self.embed_text(text) / size, -1, 1)) if size > 0 else None}

    def embed(self, samples: Any, rate_hz: int, hop_s: float = 10.0) -> Array:
        """Embeddings `[N, D]` of length 1, one for each 10 s every `hop_s` (a shorter sound is repeated to fill them, as
        in training); none for silence.

        transformers' extractor takes a *random* part of a longer sound and marks a random one of a batch as
        longer; neither happens here, so the same sound gives the same.
        """
        import torch

        mono = mono_at(samples, rate_hz, int(self._extractor.sampling_rate))
        if silent(mono):
            return np.zeros((0, int(self._model.config.projection_dim)))
        hop = max(1, round(hop_s * self._extractor.sampling_rate))
        pieces = windows(mono, int(self._extractor.nb_max_samples), hop)
        rows = []
        for first in range(0, len(pieces), _BATCH):
            found = self._extractor(
                pieces[first : first + _BATCH], sampling_rate=self._extractor.sampling_rate, return_tensors="pt"
            )
            features = found["input_features"].to(self._device, torch.float32)
            whole = torch.zeros(len(features), 1, dtype=torch.bool, device=self._device)
            with torch.inference_mode():
                rows.append(self._model.get_audio_features(input_features=features, is_longer=whole).pooler_output.cpu())
        return torch.cat(rows).double().numpy()

    def embed_text(self, text: str) -> Array:
        """The text's embedding `[D]`, of length 1; remembered."""
        import torch

        if text not in self._texts:
            longest = min(TEXT_TOKENS, int(self._tokenizer.model_max_length))
            tokens = self._tokenizer([text], truncation=True, max_length=longest, return_tensors="pt")
            ids, mask = tokens["input_ids"].to(self._device), tokens["attention_mask"].to(self._device)
            with torch.inference_mode():
                found = self._model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output
            self._texts[text] = found[0].double().cpu().numpy()
        return self._texts[text]

    def close(self) -> None:
        """Let go of the weights."""
        self._model = None
        self._texts.clear()
