"""The files of a night: latents, audio, the presets as run, the inputs. Each is whole or not there, and the same take gives
the same bytes.

Knows no queue and no pair.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch

from ..pipeline.atomic import write_atomic, write_error
from ..pipeline.audio_write import write_audio
from ..pipeline.keys import digest
from ..pipeline.spec import Preset, Prompt
from ..pipeline.take import Audio, Latent, Take
from ..pipeline.yaml_text import to_yaml
from .folder import NightFolder


def keep_latent(folder: NightFolder, job: int, take: Take, model: str) -> Path | None:
    """Write the take's latent, to wait below ``work`` until its prompt is settled; gives where it will be. None where no latent
    decodes to what is heard (the waveform was worked on since, or there never was one)."""
    latent = take.signal.known()[1]
    if latent is None or latent.t > 0 or not take.signal.decodes:
        return None
    place, waiting = folder.places("latents", job, take.stage, take.index)
    if not (place.exists() or waiting.exists()):
        facts = {
            "codec": latent.codec, "frame_rate_hz": latent.frame_rate_hz, "samples": latent.samples, "model": model,
            "rate_hz": take.audio.rate_hz, "key": take.key,
        }  # fmt: skip
        # one metadata entry: safetensors writes several in no fixed order
        data = safetensors.torch.save({"frames": latent.frames.contiguous()}, {"segue": json.dumps(facts, sort_keys=True)})
        write_atomic(waiting, data, "a take's latent")
    return place


def read_latent(path: Path) -> tuple[Latent, dict[str, Any]]:
    """The latent in a file of `keep_latent`, and what is noted beside it: ``model``, ``rate_hz``, ``key``. Raises OSError, or
    ValueError for a file that is none."""
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            facts = json.loads(file.metadata()["segue"])
            frames = file.get_tensor("frames")
    except (safetensors.SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path} holds no latent of a take ({error})") from error
    return Latent(frames, facts["frame_rate_hz"], facts["codec"], samples=facts["samples"]), facts


def keep_audio(folder: NightFolder, job: int, take: Take, tags: Mapping[str, str]) -> Path:
    """Write the take as FLAC, 24 bit, to wait below ``work`` until its prompt is settled; gives where it will be, if it stays."""
    place, waiting = folder.places("audio", job, take.stage, take.index)
    if not (place.exists() or waiting.exists()):
        write_audio(waiting, take.audio, tags=dict(tags))
    return place


def settle_file(folder: NightFolder, kind: str, job: int, stage: str, index: int, *, stays: bool) -> Path | None:
    """Move a take's file to where it stays, or remove it; gives its place. Doing it again changes nothing."""
    place, waiting = folder.places(kind, job, stage, index)
    try:
        if not stays:
            waiting.unlink(missing_ok=True)
            return None
        if waiting.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            waiting.replace(place)
    except OSError as error:
        raise write_error(f"a take's {kind}", place, error) from error
    return place if place.exists() else None


def keep_pipeline(folder: NightFolder, preset: Preset) -> str:
    """Write the preset as it is run, without prompt and seed; gives the name it is kept under."""
    text = to_yaml(preset.model_copy(update={"seed": None, "prompt": Prompt()}))
    name = digest({"pipeline": text})[:16]
    path = folder.root / "pipelines" / f"{name}.yaml"
    if not path.exists():
        write_atomic(path, text.encode("utf-8"), "a preset as run")
    return name


def keep_input(folder: NightFolder, key: str, audio: Audio) -> None:
    """Write an input's sound under its key, once."""
    path = folder.root / "inputs" / f"{key}.flac"
    if not path.exists():
        write_audio(path, audio)
