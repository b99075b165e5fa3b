"""What a night's folder holds, and where.

Knows no plan, no stage, no queue and no pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..pipeline.atomic import sweep_temps, write_temp
from ..pipeline.errors import Problem, RequestError

PARTS = ("audio", "latents", "pipelines", "inputs", "work")


@dataclass(frozen=True)
class NightFolder:
    """The places below `root`."""

    root: Path

    @property
    def plan(self) -> Path:
        return self.root / "plan.yaml"

    @property
    def prompts(self) -> Path:
        """The prompts as they were found when the night was begun."""
        return self.root / "prompts.jsonl"

    @property
    def database(self) -> Path:
        return self.root / "night.sqlite3"

    @property
    def groups(self) -> Path:
        return self.root / "groups.jsonl"

    @property
    def pairs(self) -> Path:
        return self.root / "pairs.jsonl"

    @property
    def judgements(self) -> Path:
        return self.root / "judgements.jsonl"

    @property
    def account(self) -> Path:
        return self.root / "night.json"

    @property
    def store(self) -> Path:
        """Takes being worked on; what is finished lies in `audio` and `latents`."""
        return self.root / "work" / "store"

    @property
    def index(self) -> Path:
        """What pairs are derived from; made anew from `groups` where it is missing."""
        return self.root / "work" / "pairs.sqlite3"

    @property
    def lock(self) -> Path:
        return self.root / "work" / "lock"

    def _strange(self) -> list[str]:
        """Names of what neither a night nor the beginning of one put here. Looked at once: others may begin it just now."""
        names = [path.name for path in self.root.iterdir()]
        known = (self.prompts.name, self.groups.name, *PARTS)
        if self.plan.name in names:
            return []
        return sorted(n for n in names if n not in known and not n.startswith((self.database.name, ".tmp-")))

    def clear_unbegun(self) -> None:
        """Remove what a beginning left that was killed before the plan was written; never touches a night, nor the temp files of
        processes that live."""
        if not self.plan.exists():
            for path in (self.prompts, self.groups, *self.root.glob(f"{self.database.name}*")):
                path.unlink(missing_ok=True)
            sweep_temps(self.root)

    def places(self, kind: str, job: int, stage: str, index: int) -> tuple[Path, Path]:
        """Where a take's file stays (``audio/000/000012-judged-03.flac``, ``latents/…safetensors``), and where it waits before
        its prompt is settled (``work/audio/…``)."""
        ending = "safetensors" if kind == "latents" else "flac"
        name = f"{kind}/{job // 1000:03d}/{job:06d}-{stage}-{index:02d}.{ending}"
        return self.root / name, self.root / "work" / name

    def relative(self, path: Path) -> str:
        """A path as the record names it, so that the folder can be moved."""
        return path.relative_to(self.root).as_posix()

    def exists(self) -> bool:
        """Whether a night was begun here."""
        return self.plan.is_file() and self.database.is_file()

    def must_exist(self) -> None:
        """Raise `RequestError` where there is no night."""
        if not self.exists():
            raise RequestError(Problem(
                f"{self.root} holds no night (no plan.yaml and night.sqlite3 there)", "begin one: segue night PLAN.yaml --out "
                f"{self.root}", key="out",
            ))

    def prepare(self) -> None:
        """Make the folder and see that it can be written. Raises `RequestError` when it can't, or when it holds other things."""
        strange = self._strange() if self.root.is_dir() else []
        if strange:
            raise RequestError(Problem(
                f"the folder {self.root} is not empty and holds no night: {', '.join(strange[:5])}"
                f"{' …' if len(strange) > 5 else ''}", "give an empty or new folder", key="out",
            ))
        try:
            for part in PARTS:
                (self.root / part).mkdir(parents=True, exist_ok=True)
            for place in (self.root, *self.root.glob("*/"), *self.root.glob("*/*/")):
                sweep_temps(place)  # what killed processes left
            write_temp(self.root, b"", durable=False).unlink(missing_ok=True)
        except OSError as error:
            raise RequestError(Problem(
                f"the folder {self.root} can't be written: {error.strerror or error}", "give another --out", key="out",
            )) from error
