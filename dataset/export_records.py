"""One pair as every format gets it: the pair, its sounds as files, its latents and noise, in plain columns.

Knows no format's bytes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..pipeline.keys import canonical_json
from ..scoring.groups import GroupEntry
from ..scoring.pair_schema import Pair
from .export_source import NightRecord, Row, Sound
from .redecode import SoundFiles
from .trainer_mapping import InitialNoise, LatentFacts, initial_noise, latent_facts


@dataclass(frozen=True)
class Side:
    """One side of a pair. `name` is its files' stem, the hash of its samples."""

    sound: Sound
    entry: GroupEntry
    flac: Path
    latent_file: Path | None
    latent: LatentFacts | None
    noise: InitialNoise | None

    @property
    def name(self) -> str:
        return self.sound.pcm_sha256

    def diffusion(self) -> dict[str, Any]:
        """Latent, seed and noise as plain data, without the frames."""
        latent, noise = self.latent, self.noise
        return {
            "codec": latent.codec if latent else None, "frame_rate_hz": latent.frame_rate_hz if latent else None,
            "samples": latent.samples if latent else None, "version": self.sound.version,
            "noise": asdict(noise) if noise else None,
        }  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One pair with everything that belongs to it. `prompt` and `strata` are the group's."""

    pair: Pair
    prompt: dict[str, Any]
    strata: dict[str, str]
    chosen: Side
    rejected: Side

    def json_pair(self, places: bool) -> dict[str, Any]:
        """The pair as JSON data: the fixed keys exactly, further facts beside them. With `places` the sides name the export's
        own files; without, none, because audio and latents travel with the row."""
        data = self.pair.model_dump(mode="json")
        for name in ("chosen", "rejected"):
            side: Side = getattr(self, name)
            data[name]["audio_path"] = audio_place(side) if places else f"{side.name}.flac"
            if data[name].get("provenance") is not None:
                data[name]["provenance"]["latent_path"] = latent_place(side) if places and side.latent_file else None
        data["strata"] = dict(self.strata)
        data["prompt_facts"] = dict(self.prompt)
        data["diffusion"] = {"chosen": self.chosen.diffusion(), "rejected": self.rejected.diffusion()}
        return data

    def columns(self) -> dict[str, Any]:
        """The row without sounds and frames, by column."""
        pair, meta = self.pair, self.pair.prompt.metadata
        row: dict[str, Any] = {
            "id": pair.id, "prompt": pair.prompt.caption, "lyrics": pair.prompt.lyrics, "bpm": meta.bpm,
            "keyscale": meta.keyscale, "duration_s": meta.duration, "strategy": pair.strategy, "metric": pair.metric,
            "margin": pair.margin, "labeller": pair.labeller, "group": pair.group, "strata": canonical_json(self.strata),
        }  # fmt: skip
        for name in ("chosen", "rejected"):
            row |= {f"{name}_{column}": value for column, value in self._side(name).items()}
        return row

    def _side(self, name: str) -> dict[str, Any]:
        side, told = getattr(self, name), getattr(self.pair, name)
        noise: InitialNoise | None = side.noise
        return {
            "score": told.quality_score, "defects": list(side.entry.defects), "take": side.entry.take, "seed": side.entry.seed,
            "model": told.generation_params.model, "steps": told.generation_params.steps, "shift": told.generation_params.shift,
            "version": side.sound.version, "codec": side.latent.codec if side.latent else None,
            "frame_rate_hz": side.latent.frame_rate_hz if side.latent else None,
            "latent_samples": side.latent.samples if side.latent else None,
            "noise_seed": noise.generator_seed if noise else None, "noise_shape": list(noise.shape) if noise else [],
            "t_start": noise.t_start if noise else None,
        }  # fmt: skip


def audio_place(side: Side) -> str:
    """Where a side's audio lies in an export that keeps files: ``audio/ab/abcd….flac``."""
    return f"audio/{side.name[:2]}/{side.name}.flac"


def latent_place(side: Side) -> str:
    """Where a side's latent lies in an export that keeps files: ``latents/ab/abcd….safetensors``."""
    return f"latents/{side.name[:2]}/{side.name}.safetensors"


def record_of(row: Row, record: NightRecord, files: SoundFiles) -> Record:
    """The pair of a row with its files. Raises RunError where a sound can't be had."""
    pair, group, chosen, rejected = record.pair(row)
    sides = []
    for sound, entry in zip(row.sounds, (chosen, rejected), strict=True):
        path = files.latent(sound)
        latent = latent_facts(path) if path is not None else None
        noise = initial_noise(entry, latent, record) if latent is not None else None
        sides.append(Side(sound, entry, files.flac(sound), path, latent, noise))
    return Record(pair, dict(group.prompt), dict(group.strata), *sides)
