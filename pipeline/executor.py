"""Start, resume and repeat runs: what is asked for is checked and fixed here, then carried out. What `Pipeline.run` calls.

Knows no stage type; presets come as objects or through a `load` function it is handed.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .catalog import Catalog
from .errors import Problem, RequestError
from .events import CancelToken, Listener
from .execution import Execution
from .home import segue_home
from .keys import audio_key
from .models.resolve import weights_mark
from .options import RunOptions, decide, numerics_of
from .outputs import prepare_folder
from .prepare import Prepared, prepare, read_inputs, with_choices
from .records import RunRecord
from .repetition import Expected, lost_inputs, options_then, other_sources
from .run import Run
from .spec import SEED_MAX, DiffusionStage, Preset
from .tags import read_take_tags
from .take import Audio
from .yaml_text import to_yaml

Load = Callable[[str], Preset]


def execute(
    pipeline: Preset,
    out: str | Path | None = None,
    *,
    seed: int | None = None,
    takes: int | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    on_event: Listener | None = None,
    cancel: CancelToken | None = None,
    options: RunOptions | None = None,
    home: str | Path | None = None,
) -> Run:
    """Run a pipeline. `out` is the folder for audio, report and preference log ("{run_id}" in it stands for the run's id;
    None writes no files). Raises `RequestError` before anything is computed when the request can't be carried out,
    `RunError` when it fails on the way, `Cancelled` after `cancel.cancel()`; finished takes are kept in every case."""
    return _start(
        pipeline, out, seed=seed, takes=takes, inputs=inputs, on_event=on_event, cancel=cancel, options=options, home=home
    )


def _start(
    pipeline: Preset,
    out: str | Path | None,
    *,
    seed: int | None,
    takes: int | None = None,
    inputs: Mapping[str, str | Path] | None,
    on_event: Listener | None,
    cancel: CancelToken | None,
    options: RunOptions | None,
    home: str | Path | None,
    expected: Expected | None = None,
    notes: Sequence[str] = (),
) -> Run:
    """Fix every choice, check everything, note the run, carry it out. `expected` and `notes`: see `Execution`."""
    chosen = with_choices(pipeline, seed=seed, takes=takes, inputs=inputs)
    if chosen.seed is None:
        chosen = with_choices(chosen, seed=secrets.randbelow(SEED_MAX))
    decided, _ = decide(options or RunOptions())
    prepared = prepare(chosen, offline=decided.offline)
    if out is None:
        _no_folder_needed(prepared)
    sounds = read_inputs(prepared)
    keys, weights = _input_keys(sounds), weights_of(prepared)
    if expected is not None and (other := other_sources(expected.file, expected.tags, chosen, keys, weights)):
        raise RequestError(other)
    with Catalog(segue_home(home) / "catalog.sqlite3") as catalog:
        numerics = numerics_of(decided)
        assert chosen.seed is not None
        facts = {"out": None if out is None else str(Path(out).absolute()), "options": decided.model_dump(),
                 "base": str((chosen._base or Path.cwd()).absolute()), "inputs": keys, "weights": weights,
                 "preset": expected.tags.preset if expected is not None else None}
        if out is not None and "{run_id}" not in str(out):
            prepare_folder(Path(out).absolute())
        record = catalog.begin_run(chosen.name, to_yaml(chosen), chosen.seed, numerics, facts)
        execution = Execution(
            prepared, sounds, record, catalog, segue_home(home), decided, on_event, cancel, expected=expected, notes=notes
        )
        return execution.carry_out()


def resume(
    run_id: str,
    *,
    load: Load,
    home: str | Path | None = None,
    on_event: Listener | None = None,
    cancel: CancelToken | None = None,
) -> Run:
    """Go on with a run that was stopped or killed: same preset, seed, numerics, folder; what was finished is not made
    again, and the files become what an uninterrupted run would have made. A finished run is gone through again (all from
    the store). Raises `RequestError` for an unknown id, or while another process works on it."""
    with Catalog(segue_home(home) / "catalog.sqlite3") as catalog:
        record = catalog.run(run_id)
        pipeline = load(record.yaml).placed(Path(record.options["base"]), None, {})
        options = RunOptions(**record.options["options"])
        if numerics_of(options) != record.numerics:
            raise RequestError(Problem(
                f"run {record.id} was made with other library versions or processor ({_changed(record, options)}), so its "
                "takes can't be finished with the same bytes", "run the preset anew, or restore those versions",
            ))
        prepared = prepare(with_choices(pipeline, seed=record.seed), offline=options.offline)
        sounds = read_inputs(prepared)
        _same_inputs(record, sounds)
        _same_weights(record, prepared)
        record = catalog.reopen_run(record.id)
        return Execution(prepared, sounds, record, catalog, segue_home(home), options, on_event, cancel).carry_out()


def rerun(
    file: str | Path,
    *,
    load: Load,
    out: str | Path | None = None,
    inputs: Mapping[str, str | Path] | None = None,
    on_event: Listener | None = None,
    cancel: CancelToken | None = None,
    options: RunOptions | None = None,
    home: str | Path | None = None,
) -> Run:
    """Make the take of a tagged audio file again, byte for byte: from the preset and seed in its tags, under the threads, dtype,
    kind of device, micro-batch and tile it was made with. Input files are looked for where the preset says; give `inputs` when
    they moved. What `options` says wins over the tags.

    Raises `RequestError` for a file without Segue's tags, and where the take would be another one: an input that is not there
    or another sound, other weights, no such device. Where only rounding may differ (other library versions, options given
    here) the run says so as a warning."""
    tags = read_take_tags(Path(file))
    pipeline = load(tags.preset)
    if tags.base is not None:
        pipeline = pipeline.placed(Path(tags.base), None, {})
    lost = lost_inputs(Path(file), pipeline, inputs or {})
    if lost:
        raise RequestError(lost)
    then, notes = options_then(Path(file), tags, options)
    expected = Expected(Path(file), tags, excused=bool(notes))
    return _start(
        pipeline, out, seed=tags.run_seed, inputs=inputs, on_event=on_event, cancel=cancel, options=then, home=home,
        expected=expected, notes=notes,
    )


def _no_folder_needed(prepared: Prepared) -> None:
    """Raise `RequestError` when a stage writes files and the run has no folder."""
    writers = [name for name, stage in prepared.pipeline.stages.items() if stage.writes_files]
    if writers:
        raise RequestError([
            Problem("this stage writes files, and the run has no folder", "give one: pipe.run(out=FOLDER), or --out", stage=name)
            for name in writers
        ])


def _input_keys(sounds: Mapping[str, Audio]) -> dict[str, str]:
    return {name: audio_key(audio.samples, audio.rate_hz) for name, audio in sounds.items()}


def weights_of(prepared: Prepared) -> dict[str, str]:
    """The weights each denoising stage uses: their fingerprint and those of its adapters."""
    graph, found = prepared.graph, {}
    for name in graph.order:
        info, stage = graph.info(name), graph.stage(name)
        if info is not None and isinstance(stage, DiffusionStage):
            found[name] = weights_mark(info, [(prepared.pipeline.path(a.path), a.scale) for a in stage.adapters])
    return found


def _same_weights(record: RunRecord, prepared: Prepared) -> None:
    """Raise `RequestError` for weights that are not what they were when the run began."""
    before = record.options.get("weights", {})
    other = [name for name, mark in weights_of(prepared).items() if before.get(name, mark) != mark]
    if other:
        raise RequestError([
            Problem(f"the weights or adapters are not those run {record.id} began with, so its takes can't be finished with the "
                    "same bytes", "put the old ones back, or run the preset anew", stage=name)
            for name in other
        ])


def _same_inputs(record: RunRecord, sounds: Mapping[str, Audio]) -> None:
    """Raise `RequestError` for input files that are not what they were when the run began."""
    before = record.options.get("inputs", {})
    other = [name for name, key in _input_keys(sounds).items() if name in before and before[name] != key]
    if other:
        raise RequestError([
            Problem(f"the input '{name}' is another sound than when run {record.id} began, so its takes can't be finished with "
                    "the same bytes", "put the old file back, or run the preset anew", key=f"inputs.{name}")
            for name in other
        ])


def _changed(record: RunRecord, options: RunOptions) -> str:
    now = numerics_of(options).versions
    changed = {k: v for k, v in record.numerics.versions.items() if now.get(k) != v}
    return ", ".join(f"{k}: then {v}, now {now.get(k)}" for k, v in changed.items()) or "numerics"
