"""Model folders as files: are they whole, are they safetensors, and what is their fingerprint. Loads no weight.

A component folder (transformer, vae …) holds a configuration file and weights as safetensors, one file or several named by
an index. Pickled weights are refused: unpickling runs code. Fingerprints are SHA-256 over content, so a copied or renamed
folder is the same model; hashes are remembered by path, size and time of change, and nothing depends on that memory
being there. This module knows no family and no network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import Problem, RequestError
from ..home import segue_home

PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
CONFIG_NAMES = ("config.json", "scheduler_config.json", "tokenizer_config.json")
_HEADER_MAX = 100 * 2**20  # safetensors' own limit on its header
_NO_WEIGHTS = ("tokenizer", "scheduler")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises RequestError naming the file when it is missing or is no JSON object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RequestError(missing(path)) from None
    except (OSError, ValueError) as error:
        raise RequestError(
            Problem(f"{path} can't be read as JSON: {error}.", "download or export the model again.")
        ) from None
    if not isinstance(data, dict):
        raise RequestError(Problem(f"{path} holds no JSON object.", "download or export the model again."))
    return data


def missing(path: Path) -> Problem:
    """The problem of a file that belongs to a model folder and is not there."""
    return Problem(
        f"the model folder lacks {path.name}: looked for {path}.",
        "complete the folder (download or export the model again), or name another model.",
    )


def component_config(folder: Path) -> dict[str, Any]:
    """The component's configuration, from whichever file its kind uses."""
    for name in CONFIG_NAMES:
        if (folder / name).is_file():
            return read_json(folder / name)
    raise RequestError(missing(folder / "config.json"))


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a component, in order; shards as the index names them.

    Raises RequestError when there are none, when a shard is missing, or when only pickled weights are there.
    """
    if not folder.is_dir():
        raise RequestError(
            Problem(
                f"the model folder lacks its part '{folder.name}': looked for {folder}.",
                "complete the folder (download or export the model again), or name another model.",
            )
        )
    indexes = sorted(folder.glob("*.safetensors.index.json"))
    indexes = [i for i in indexes if len(i.name.split(".")) == 4]  # plain, not a variant such as .fp16.
    if indexes:
        shards = sorted(set(read_json(indexes[0]).get("weight_map", {}).values()))
        for shard in shards:
            if Path(shard).name != shard or not (folder / shard).is_file():
                raise RequestError(missing(folder / shard))
        return tuple(folder / shard for shard in shards)
    plain = [p for p in sorted(folder.glob("*.safetensors")) if p.name.count(".") == 1]
    if plain:
        return (plain[0],)
    pickled = sorted(p.name for p in folder.iterdir() if p.suffix in PICKLED)
    if pickled:
        raise RequestError(
            Problem(
                f"{folder} holds its weights as {', '.join(pickled)}: pickled files can run code when opened, so they are "
                "not loaded.",
                "use the safetensors release of the model, or convert it with diffusers' save_pretrained.",
            )
        )
    raise RequestError(missing(folder / "diffusion_pytorch_model.safetensors"))


def read_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Names, types and shapes of the tensors in a safetensors file, without reading them.

    Layout: 8 bytes little-endian header length, JSON header, data (safetensors' format description). Raises RequestError
    when the file is truncated or is no safetensors file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= min(_HEADER_MAX, size - 8):
                raise ValueError("its header does not fit the file")
            header = json.loads(file.read(length))
        tensors = {k: v for k, v in header.items() if k != "__metadata__"}
        end = max((int(v["data_offsets"][1]) for v in tensors.values()), default=0)
        if size != 8 + length + end:
            raise ValueError(f"it has {size} bytes where its header promises {8 + length + end}")
        return {k: (str(v["dtype"]), tuple(v["shape"])) for k, v in tensors.items()}
    except FileNotFoundError:
        raise RequestError(missing(path)) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            Problem(
                f"{path} is damaged: {error}.",
                "the file is truncated or is no safetensors file; download it again.",
            )
        ) from None


def check_component(name: str, folder: Path) -> None:
    """Everything that can be known about a component without loading it: configuration readable, weights whole.

    `name` is the component's name in its pipeline (``transformer``, ``tokenizer`` …), which says what it must hold.

    Raises RequestError naming the first file that is missing, pickled or damaged.
    """
    if name.startswith("tokenizer"):
        if not folder.is_dir() or not any((folder / n).is_file() for n in _TOKENIZER_FILES):
            raise RequestError(missing(folder / _TOKENIZER_FILES[0]))
        return
    component_config(folder)
    if not name.startswith(_NO_WEIGHTS):
        for path in weight_files(folder):
            read_header(path)


def stored_bytes(folder: Path) -> int:
    """How many parameters' bytes the component would take as float32."""
    count = 0
    for path in weight_files(folder):
        for _, shape in read_header(path).values():
            n = 1
            for size in shape:
                n *= size
            count += n
    return 4 * count


def component_fingerprint(name: str, folder: Path) -> str:
    """SHA-256 (hex) over a component's configuration and weights.

    Keys starting with ``_`` (library version, where it was loaded from) are left out of the configuration.
    """
    digest = hashlib.sha256()
    for part, content in _content(name, folder):
        digest.update(f"{part}:{content}\n".encode())
    return digest.hexdigest()


def combined_fingerprint(components: Mapping[str, Path], known: dict[tuple[str, Path], str] | None = None) -> str:
    """One fingerprint over the named components of a variant. `known` holds those of single components, and gains what it
    lacks."""
    known = {} if known is None else known
    digest = hashlib.sha256()
    for name in sorted(components):
        place = (name, components[name])
        if place not in known:
            known[place] = component_fingerprint(*place)
        digest.update(f"{name}:{known[place]}\n".encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of a file, remembered by path, size and time of change."""
    real = path.resolve()
    stat = real.stat()
    stamp = [stat.st_size, stat.st_mtime_ns]
    known = _remembered().get(str(real))
    if isinstance(known, list) and len(known) == 3 and known[:2] == stamp and isinstance(known[2], str):
        return known[2]
    with real.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    _remember(str(real), [*stamp, digest])
    return digest


def path_fingerprint(path: Path) -> str:
    """SHA-256 (hex) over a file, or over every file below a folder with its place in it."""
    if path.is_file():
        return file_hash(path)
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}:{file_hash(file)}\n".encode())
    return digest.hexdigest()


def _content(name: str, folder: Path) -> Iterator[tuple[str, str]]:
    if name.startswith("tokenizer"):
        for path in sorted(
            p for p in folder.iterdir() if p.is_file() and p.suffix in (".json", ".txt", ".model")
        ):
            if (
                path.name != "tokenizer_config.json"
            ):  # holds paths and library versions; the token table decides
                yield path.name, file_hash(path)
        return
    config = {k: v for k, v in component_config(folder).items() if not k.startswith("_")}
    config.pop("transformers_version", None)
    yield "config", hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()
    if not name.startswith(_NO_WEIGHTS):
        for n, path in enumerate(weight_files(folder)):
            yield f"weights{n}", file_hash(path)


def _memory_file() -> Path:
    return segue_home() / "weight-hashes.json"


def _remembered() -> dict[str, Any]:
    try:
        data = json.loads(_memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # no memory yet, or a torn one: hashes are computed anew
    return data if isinstance(data, dict) else {}


def _remember(path: str, entry: list[Any]) -> None:
    """Write atomically; a folder that can't be written only costs hashing again."""
    with contextlib.suppress(OSError):
        target = _memory_file()
        target.parent.mkdir(parents=True, exist_ok=True)
        data = {p: e for p, e in _remembered().items() if Path(p).exists()}
        data[path] = entry
        with tempfile.NamedTemporaryFile(
            "w", dir=target.parent, suffix=".tmp", delete=False, encoding="utf-8"
        ) as file:
            json.dump(data, file)
        Path(file.name).replace(target)
