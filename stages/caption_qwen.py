"""Captions by Qwen2-Audio (Chu et al. 2024, arXiv 2407.10759) through transformers, imported only when used.

Knows nothing of takes and prompts: audio in, text out.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ..pipeline.audio_file import remix, resample
from ..pipeline.errors import RunError
from ..pipeline.take import Audio

HUB_ID = "Qwen/Qwen2-Audio-7B-Instruct"
QUESTION = "Describe this music in one sentence: genre, mood, instruments and sound quality."


class Qwen2AudioCaptioner:
    """Weights and processor on a device. Raises RunError when they can't be loaded."""

    def __init__(self, model: str, device: str = "cpu", dtype: str = "float32") -> None:
        from transformers import AutoProcessor, Qwen2AudioForConditionalGeneration

        try:
            self._processor = AutoProcessor.from_pretrained(model, trust_remote_code=False)
            self._model = Qwen2AudioForConditionalGeneration.from_pretrained(
                model, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise RunError(
                f"the captioning model '{model}' can't be loaded: {str(error)[:300]} Give `model` a local folder with "
                "config.json, the processor's files and model.safetensors, or a hub id that can be reached."
            ) from error
        self._model.to(device).eval()
        self._device = device

    def caption(self, audios: list[Audio], question: str = QUESTION, max_new_tokens: int = 96) -> list[str]:
        """One text per sound, greedily decoded (the same every time); only what the model adds, not the question.

        Mono at the processor's rate (16 kHz); of sounds longer than the model hears (30 s) the middle is taken.
        """
        extractor = self._processor.feature_extractor
        rate_hz = int(extractor.sampling_rate)
        waves = [_middle(remix(resample(a, rate_hz), 1), extractor.n_samples).numpy() for a in audios]
        talk = [{"role": "user", "content": [{"type": "audio", "audio_url": ""}, {"type": "text", "text": question}]}]
        text = self._processor.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
        self._processor.tokenizer.padding_side = "left"  # new tokens must follow the question at once
        inputs = self._processor(
            text=[text] * len(waves), audio=waves, sampling_rate=rate_hz, return_tensors="pt", padding=True
        ).to(self._device)
        with torch.inference_mode():
            ids = self._model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
        new = ids[:, inputs["input_ids"].shape[1] :]
        return [t.strip() for t in self._processor.batch_decode(new, skip_special_tokens=True)]


def _middle(audio: Audio, most: int) -> torch.Tensor:
    mono = audio.samples[0]
    start = max(0, (len(mono) - most) // 2)
    return mono[start : start + most]


def folder_problem(model: str) -> str | None:
    """What a local folder lacks to be loaded; None when nothing shows, or when `model` looks like a hub id."""
    folder = Path(model)
    if not folder.exists():
        looks_local = folder.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1
        return f"there is no folder '{model}'" if looks_local else None
    missing = [] if (folder / "config.json").is_file() else ["config.json"]
    if not any((folder / name).is_file() for name in ("processor_config.json", "preprocessor_config.json")):
        missing.append("processor_config.json")  # transformers 5 writes this one, older versions the other
    if not any(folder.glob("*.safetensors")):
        missing.append("model.safetensors")
    return f"'{model}' lacks {', '.join(missing)}" if missing else None
