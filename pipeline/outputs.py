"""The files a run leaves in its folder: audio of the output stages, `run.json`, `report.json`, the preset, the preference log.

Audio is FLAC, 24 bit, with tags enough to make the same take again. Knows no stage type.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .atomic import sweep_temps, write_temp, write_text
from .audio_file import Written, write_audio
from .errors import Problem, RequestError
from .tags import read_take_tags
from .take import Take


def prepare_folder(out: Path) -> Path:
    """Make the run's folder and see that it can be written. Raises `RequestError` when it can't."""
    try:
        (out / "audio").mkdir(parents=True, exist_ok=True)
        for folder in (out, out / "audio"):
            sweep_temps(folder)  # what a killed process left
            write_temp(folder, b"", durable=False).unlink()
    except OSError as error:
        raise RequestError(
            Problem(f"the folder {out} can't be written: {error.strerror or error}", "give another --out", key="out")
        ) from error
    return out


def audio_path(take: Take, folder: Path) -> Path:
    """``audio/STAGE-INDEX.flac``; where another run left another take under that name, the take's key is added to it, so
    that files the preference log names stay what they were."""
    plain = folder / "audio" / f"{take.stage}-{take.index:02d}.flac"
    if not plain.exists():
        return plain
    try:
        same = read_take_tags(plain).key == take.key
    except RequestError:
        same = False  # not one of ours: left alone
    return plain if same else plain.with_stem(f"{plain.stem}-{take.key[:8]}")


def write_take(take: Take, folder: Path, tags: dict[str, str]) -> Written:
    """One take as FLAC; raises `RunError` naming the file when the disk refuses."""
    return write_audio(audio_path(take, folder), take.audio, tags=tags)


def write_document(folder: Path, document: dict[str, Any], preset_yaml: str, takes: Sequence[Take]) -> list[Path]:
    """`preset.yaml`, `report.json` (every report of the outputs) and `run.json`, each whole or not at all."""
    reports = {t.id: t.report.model_dump(mode="json") for t in takes if t.report is not None}
    paths = [folder / "preset.yaml", folder / "report.json", folder / "run.json"]
    texts = [preset_yaml, _json(reports), _json(document)]
    for path, text in zip(paths, texts, strict=True):
        write_text(path, text, f"the run's {path.stem}")
    return paths


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
