"""Going on with an earlier run and making a take again: the executor's `resume` and `rerun`, with the presets' own loader.

The executor is handed the loader because `pipeline` knows no stage type; here the two meet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..pipeline import executor
from ..pipeline.events import CancelToken, Listener
from ..pipeline.options import RunOptions
from ..pipeline.run import Run
from .loader import load


def resume(
    run_id: str,
    *,
    home: str | Path | None = None,
    on_event: Listener | None = None,
    cancel: CancelToken | None = None,
) -> Run:
    """Go on with a run that was stopped, failed or killed; what it had finished is not made again.

    `run_id` may be the beginning of an id. Raises `RequestError` for an unknown run, or one that another process
    works on or that was made with other library versions; `RunError` and `Cancelled` as `Pipeline.run` does.
    """
    return executor.resume(run_id, load=load, home=home, on_event=on_event, cancel=cancel)


def rerun(
    file: str | Path,
    *,
    out: str | Path | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    on_event: Listener | None = None,
    cancel: CancelToken | None = None,
    options: RunOptions | None = None,
    home: str | Path | None = None,
) -> Run:
    """Make the take in an audio file again, byte for byte, from what its tags say: preset, seed, threads, dtype, kind of device,
    micro-batch and tile.

    `inputs` says where the preset's input files are now, when they have moved; what `options` says wins over the tags.
    Raises `RequestError` for a file without Segue's tags and where the take would be another one (input, weights or device not
    those of then); where only rounding may differ (library versions, options given here) the run warns. Otherwise as
    `Pipeline.run`.
    """
    return executor.rerun(file, load=load, out=out, inputs=inputs, on_event=on_event, cancel=cancel, options=options, home=home)
