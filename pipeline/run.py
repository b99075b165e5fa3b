"""`Run`: what a finished run holds, takes by stage, files, counts, and the document that says it all.

Knows nothing of how takes are made.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import RequestError, did_you_mean
from .records import StageRecord
from .take import Take


@dataclass(eq=False)
class Run:
    """A finished run. ``run["stage"]`` gives that stage's takes; `document()` is the JSON of ``segue run --json``."""

    id: str
    preset: str
    out: Path | None
    stages: tuple[StageRecord, ...]
    takes: Mapping[str, tuple[Take, ...]]
    inputs: Mapping[str, Take]
    outputs: tuple[str, ...]
    counts: Mapping[str, int]
    pairs: int
    seed: int
    seconds: float
    training: str | None = None
    audio_paths: Mapping[tuple[str, int], Path] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    def __getitem__(self, stage: str) -> tuple[Take, ...]:
        if stage not in self.takes:
            near = did_you_mean(stage, self.takes)
            raise RequestError(f"this run has no stage '{stage}'.{near} It has {', '.join(self.takes)}.")
        return self.takes[stage]

    def output_takes(self) -> list[Take]:
        return [take for name in self.outputs for take in self.takes[name]]

    def document(self) -> dict[str, Any]:
        """Plain data: run_id, preset, out, counts, stages, takes (of the outputs), pairs, and beside them seed, files,
        warnings and the model's training state."""
        return {
            "run_id": self.id,
            "preset": self.preset,
            "out": str(self.out) if self.out else None,
            "counts": dict(self.counts),
            "stages": [dict(vars(s)) for s in self.stages],
            "takes": [self._take(t) for t in self.output_takes()],
            "pairs": self.pairs,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "model_training": self.training,
            "files": [str(f) for f in self.files],
            "warnings": list(self.warnings),
        }

    def _take(self, take: Take) -> dict[str, Any]:
        path = self.audio_paths.get((take.stage, take.index))
        return {
            "id": take.id,
            "stage": take.stage,
            "seed": take.seed,
            "audio": str(path) if path else None,
            "duration_s": round(take.duration_s, 6),
            "prompt": take.prompt.facts(),
            "report": take.report.model_dump(mode="json") if take.report else None,
        }

    def __repr__(self) -> str:
        made = ", ".join(f"{name}: {len(takes)}" for name, takes in self.takes.items())
        return f"<Run {self.id} of '{self.preset}', {self.seconds:.1f} s; takes {made}; {self.pairs} pairs; out {self.out}>"

    def _repr_html_(self) -> str:
        """Table of the output takes with players, for notebooks."""
        rows = []
        for take in self.output_takes():
            path = self.audio_paths.get((take.stage, take.index))
            score = f"{take.report.overall:.2f}" if take.report else "–"
            player = f'<audio controls preload="none" src="{_data_url(path)}"></audio>' if path else ""
            cells = (html.escape(take.id), str(take.seed), score, html.escape(take.prompt.caption or ""), player)
            rows.append("<tr>" + "".join(f"<td>{c}</td>" for c in cells) + "</tr>")
        head = "".join(f"<th>{h}</th>" for h in ("take", "seed", "score", "caption", ""))
        title = html.escape(f"{self.preset} · {self.id} · {self.seconds:.1f} s · {self.pairs} pairs")
        return f"<div><b>{title}</b><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def _data_url(path: Path) -> str:
    import base64
    import mimetypes

    kind = mimetypes.guess_type(path.name)[0] or "audio/flac"
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
