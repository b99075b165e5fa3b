"""From a model's name to its folders and facts: `describe_model`. Reads configuration files and hashes; loads no weight.

A name is ``segue-mini`` (shipped), a folder with a ``segue.json``, a folder in the official diffusers layout, a folder of
such folders (its variants), ``acestep-v15`` and its kin, or a hub id. Names that are not paths are looked for in each
folder of ``$SEGUE_MODELS``, then in the local Hugging Face cache, then on the hub unless offline. This module knows no
tensor and no stage; what it finds, `Pool` loads.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Problem, RequestError, did_you_mean
from ..home import expanded
from .adapters import adapter_fingerprint
from .base import ModelInfo, VariantInfo
from .files import check_component
from .layout import MANIFEST, VariantFiles, read_manifest, read_official
from .variants import ACESTEP, default_variants

__all__ = ["LocatedModel", "VariantFiles", "Variants", "adapter_fingerprint", "describe_model", "known_names", "weights_mark"]

EMBEDDED = "segue-mini"
_EMBEDDED_FOLDER = Path(__file__).parent / "weights" / EMBEDDED
_SHORT = re.compile(r"^acestep-v15(?:-(?P<xl>xl-)?(?P<kind>base|sft|turbo))?$")
_SHORT_NAMES = (
    "acestep-v15", "acestep-v15-base", "acestep-v15-sft", "acestep-v15-turbo",
    "acestep-v15-xl-base", "acestep-v15-xl-sft", "acestep-v15-xl-turbo",
)  # fmt: skip
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
_PREFERRED = ("turbo", "sft", "base")


class Variants(Mapping[str, VariantInfo]):
    """Variants by name; a variant's files are found, checked and hashed when it is first looked at, and once."""

    def __init__(self, sources: Mapping[str, Callable[[], tuple[VariantFiles, VariantInfo]]]) -> None:
        self._sources = dict(sources)
        self._found: dict[str, tuple[VariantFiles, VariantInfo]] = {}

    def _get(self, name: str) -> tuple[VariantFiles, VariantInfo]:
        if name not in self._found:
            self._found[name] = self._sources[name]()
        return self._found[name]

    def __getitem__(self, name: str) -> VariantInfo:
        return self._get(name)[1]

    def files(self, name: str) -> VariantFiles:
        """Where the variant's components lie. Raises KeyError for an unknown one."""
        return self._get(name)[0]

    def looked_at(self) -> tuple[str, ...]:
        """Names of the variants whose files are already found."""
        return tuple(self._found)

    def __iter__(self) -> Iterator[str]:
        return iter(self._sources)

    def __len__(self) -> int:
        return len(self._sources)

    def __contains__(self, name: object) -> bool:
        return name in self._sources


@dataclass(frozen=True)
class LocatedModel(ModelInfo):
    """A `ModelInfo` whose weights lie in known folders."""

    variants: Variants = field(default_factory=lambda: Variants({}))
    note: str = ""

    def files(self, variant: str) -> VariantFiles:
        return self.variants.files(variant)


def describe_model(name: str, *, base: Path | None = None, offline: bool = False) -> LocatedModel:
    """What a model name means. `base` is the folder that relative paths start from (the preset's); default: here.

    Raises RequestError: nothing of that name (with every place that was looked at), a part missing, pickled weights,
    a damaged file. The hub is asked only when the name is nowhere local and neither `offline` nor $HF_HUB_OFFLINE is set.
    """
    offline = offline or os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
    if name == EMBEDDED:
        return _embedded(_EMBEDDED_FOLDER, _stamp(_EMBEDDED_FOLDER))
    as_path = expanded(name)
    local = as_path if as_path.is_absolute() else (base or Path.cwd()) / as_path
    if _is_folder(local) and (as_path.is_absolute() or not _SHORT.match(name)):
        return _from_folder(name, local)
    if as_path.is_absolute() or name.startswith((".", "~")):
        raise RequestError(_nothing(name, [f"the folder {local}"]))
    short = _SHORT.match(name)
    if short and short["kind"] is None:
        return _several(name, offline)
    return _from_folder(name, _locate(name, local, offline))


def may_be_on_the_hub(name: str) -> bool:
    """Whether a name that is nowhere on this machine may still be one the hub knows."""
    return bool(_SHORT.match(name) or _HUB_ID.match(name)) and not name.startswith((".", "~"))


@functools.lru_cache(maxsize=1)
def _embedded(folder: Path, stamp: tuple[tuple[str, int, int], ...]) -> LocatedModel:
    """The shipped model, read again only when one of its files is another one than before."""
    return _from_folder(EMBEDDED, folder)


def _stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Place, size and time of change of every file below a folder."""
    files = (Path(at) / name for at, _, names in os.walk(folder) for name in names)
    return tuple(sorted((str(path), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name too long for the system is the name of no folder
        return False


def weights_mark(info: VariantInfo, adapters: Iterable[tuple[Path, float]] = ()) -> str:
    """What a stage's weights are, by content: its variant's fingerprint and those of the adapters (path, scale) laid over it."""
    return "+".join([info.fingerprint, *(f"{adapter_fingerprint(path)}*{scale!r}" for path, scale in adapters)])


def known_names() -> tuple[str, ...]:
    """Names that can be written without a path: the shipped model and the official ones."""
    return (EMBEDDED, *_SHORT_NAMES)


def official_repository(short: str) -> str:
    """The hub id of an official diffusers repository, from its short name."""
    return f"ACE-Step/{short}-diffusers"


def _several(name: str, offline: bool) -> LocatedModel:
    """`acestep-v15`: one variant a repository, each found when it is first asked for."""
    folder = next((root / name for root in _model_roots() if (root / name).is_dir()), None)
    if folder is not None:
        return _from_folder(name, folder)
    kinds = {kind: kind for kind in _PREFERRED}
    if offline:
        found = {kind: _find_local(f"{name}-{kind}")[0] for kind in kinds}
        kinds = {kind: kind for kind in kinds if found[kind] is not None}
        if not kinds:
            raise RequestError(
                _nothing(name, [p for k in _PREFERRED for p in _find_local(f"{name}-{k}")[1]], offline=True)
            )

    def source(kind: str) -> Callable[[], tuple[VariantFiles, VariantInfo]]:
        def find() -> tuple[VariantFiles, VariantInfo]:
            short = f"{name}-{kind}"
            files = read_official(_locate(short, Path(short), offline), variant=kind)
            files.check()
            return files, files.info(name)

        return find

    return LocatedModel(name, ACESTEP, Variants({k: source(k) for k in kinds}), default_variants(kinds))


def _locate(name: str, local: Path, offline: bool) -> Path:
    """The folder of a short name or hub id: $SEGUE_MODELS, the local hub cache, the hub."""
    found, looked = _find_local(name)
    if found is not None:
        return found
    looked.insert(0, f"the folder {local}")
    repository = official_repository(name) if _SHORT.match(name) else name
    if not _HUB_ID.match(repository):
        raise RequestError(_nothing(name, looked))
    if offline:
        raise RequestError(_nothing(name, looked, offline=True))
    return _download(name, repository, looked)


def _find_local(name: str) -> tuple[Path | None, list[str]]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository = official_repository(name) if _SHORT.match(name) else name
    looked: list[str] = []
    for root in _model_roots():
        for candidate in dict.fromkeys((root / name, root / repository, root / repository.split("/")[-1])):
            looked.append(str(candidate))
            if candidate.is_dir():
                return candidate, looked
    if _HUB_ID.match(repository):
        looked.append(f"the local Hugging Face cache ({repository})")
        try:
            found = snapshot_download(repository, allow_patterns=_HUB_FILES, local_files_only=True)
            return Path(found), looked
        except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, FileNotFoundError):
            return None, looked
    return None, looked


def _download(name: str, repository: str, looked: list[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    looked.append(f"the hub ({repository})")
    try:
        return Path(snapshot_download(repository, allow_patterns=_HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        problem = _nothing(name, looked)
        raise RequestError(
            Problem(
                f"{problem.cause} The hub said: {reason[0] if reason else type(error).__name__}", problem.fix
            )
        ) from None


def _model_roots() -> list[Path]:
    return [expanded(p) for p in os.environ.get("SEGUE_MODELS", "").split(os.pathsep) if p]


def _nothing(name: str, looked: list[str], offline: bool = False) -> Problem:
    where = "; ".join(looked) or "no place (set SEGUE_MODELS to folders that hold models)"
    hub = " The hub was not asked, as this runs offline." if offline else ""
    return Problem(
        f"no model '{name}'. Looked for: {where}.{hub}{did_you_mean(name, known_names())}",
        f"name a model folder, a hub id such as owner/name, or one of {', '.join(known_names())}.",
    )


def _from_folder(name: str, folder: Path) -> LocatedModel:
    note = ""
    if (folder / MANIFEST).is_file():
        variants, note = read_manifest(folder)
    elif (folder / "model_index.json").is_file():
        variants = [read_official(folder)]
    else:
        inner = sorted(p.parent for p in folder.glob("*/model_index.json"))
        if not inner:
            raise RequestError(
                Problem(
                    f"{folder} is no model folder: it holds neither {MANIFEST} nor model_index.json, nor folders that do.",
                    "name a folder saved by diffusers' save_pretrained or by 'segue models export'.",
                )
            )
        variants = [read_official(p) for p in inner]
        kinds = [v.variant for v in variants]
        if len(set(kinds)) < len(kinds):
            variants = [read_official(p, variant=p.name) for p in inner]
    for part, place in dict.fromkeys(item for files in variants for item in files.parts.items()):  # shared ones once
        check_component(part, place)
    families = {v.family for v in variants}
    if len(families) > 1:
        raise RequestError(
            Problem(
                f"{folder} mixes the families {', '.join(sorted(families))}.", "keep one family a folder."
            )
        )
    marks: dict[tuple[str, Path], str] = {}
    by_name = {v.variant: (lambda v=v: (v, v.info(name, marks))) for v in variants}
    return LocatedModel(
        name,
        families.pop(),
        Variants(by_name),
        default_variants({v.variant: v.kind for v in variants}),
        note=note,
    )
