"""Ray, imported when it is asked for, and the cluster a night runs on: the one at hand, or one started for it on this machine.

Knows no night and no model.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from ..pipeline.errors import Problem, RequestError, RunError

_MEMORY = 100 * 2**20  # Ray's object store; takes travel through the night's own, only answers through Ray's
_SHARED = (
    "SEGUE_HOME", "SEGUE_MODELS", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "TOKENIZERS_PARALLELISM", "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)  # fmt: skip


@dataclass(frozen=True)
class Need:
    """What a process takes of the cluster."""

    cpus: int
    gpus: int = 0


def import_ray() -> ModuleType:
    """Ray, imported now. Raises `RequestError` when it is not installed or does not load."""
    if importlib.util.find_spec("ray") is None:
        raise RequestError(Problem("--engine ray needs ray, which is not installed", 'pip install "segue-audio[ray]", or leave '
                                   "--engine out: the local engine makes the same bytes", key="engine"))  # fmt: skip
    try:
        return importlib.import_module("ray")
    except (ImportError, OSError) as error:
        cause = f"--engine ray needs ray, which is installed but does not load ({str(error)[:200]})"
        raise RequestError(Problem(cause, 'pip install "segue-audio[ray]" anew, or leave --engine out', key="engine")) from error


def join(ray: ModuleType, needs: Sequence[Need]) -> bool:
    """Connect to the cluster that is at hand (one this process uses already, else that of ``RAY_ADDRESS``), or start one on
    this machine that ends with this process; gives whether the connection is the caller's to close (`leave`).

    Raises `RequestError` where the cluster is too small for `needs`, `RunError` where it can't be reached or started.
    """
    mine = not ray.is_initialized()
    address = os.environ.get("RAY_ADDRESS")
    if mine:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports home unless asked not to
        own = {} if address else {"num_cpus": sum(need.cpus for need in needs), "include_dashboard": False,
                                  "object_store_memory": _MEMORY}  # fmt: skip
        try:
            ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **own)
        except Exception as error:  # Ray tells a cluster that is not there in many ways
            what = f"the Ray cluster at {address} can't be reached" if address else "no Ray cluster can be started here"
            raise RunError(f"{what}: {_first_line(error)}") from error
    try:
        _must_hold(ray.cluster_resources(), needs)
    except BaseException:
        leave(ray, mine)
        raise
    return mine


def leave(ray: ModuleType, mine: bool) -> None:
    """Close the connection, where it is ours; a cluster that `join` started ends with it."""
    if mine:
        ray.shutdown()


def _must_hold(there: dict[str, float], needs: Sequence[Need]) -> None:
    wanted = {"CPU": sum(need.cpus for need in needs), "GPU": sum(need.gpus for need in needs)}
    short = [f"{n} {name}s, and the cluster has {there.get(name, 0):g}" for name, n in wanted.items() if there.get(name, 0) < n]
    if short:
        raise RequestError(Problem(f"the night's {len(needs)} processes need {'; '.join(short)}", "write fewer --workers or "
                                   "--threads, or add nodes to the Ray cluster", key="workers"))  # fmt: skip


def environment() -> dict[str, str]:
    """The variables that a process on the cluster must have as the head has them. Ray would else give every process as many
    OpenMP threads as it has CPUs, and what isn't told its threads could be summed in another order than here."""
    found = {name: os.environ[name] for name in _SHARED if name in os.environ}
    return found | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(_cpus())}


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
