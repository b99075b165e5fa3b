"""Options and arguments that several commands share, and how their values are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..pipeline.errors import Problem, RequestError
from ..pipeline.home import expanded

if TYPE_CHECKING:
    from ..pipeline.options import RunOptions

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else on stdout.")]
PresetName = Annotated[
    str, typer.Argument(metavar="PRESET", help="Name of a shipped preset, or a YAML file.")
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; automatic when left out.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16 or float16; automatic when left out.")]
MicroBatch = Annotated[
    int | None, typer.Option(min=1, max=256, help="Takes that share a forward; 1 on a CPU.")
]
Threads = Annotated[int | None, typer.Option(min=1, max=1024, help="CPU threads; all when left out.")]
TileFrames = Annotated[
    int | None,
    typer.Option(
        min=0, max=100_000, help="Latent frames decoded at once; 0: whole clips; from free memory when left out."
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the hub for a model.")]
CpuOffload = Annotated[
    bool, typer.Option("--cpu-offload", help="Keep models on the CPU between their turns.")
]


def alone(ctx: typer.Context, as_json: bool) -> bool:
    """Whether a group was called without a subcommand, and so lists. ``--json`` before a subcommand is refused: it
    would be lost."""
    if ctx.invoked_subcommand is not None and as_json:
        raise typer.BadParameter(f"write it after '{ctx.invoked_subcommand}'", param_hint="'--json'")
    return ctx.invoked_subcommand is None


def named_files(values: list[str] | None) -> dict[str, str]:
    """``--input name=file`` pairs; files are relative to the working folder. Raises RequestError with every
    wrong one."""
    found = _pairs(values, "--input", "name=file", "clip=song.wav")
    return {name: str(expanded(file).absolute()) for name, file in found.items()}


def stem_files(values: list[str] | None) -> dict[str, str]:
    """``--stem track=file`` pairs; files are relative to the working folder. Raises RequestError with every wrong one."""
    return {track: str(expanded(file)) for track, file in _pairs(values, "--stem", "track=file", "drums=drums.wav").items()}


def changes(values: list[str] | None) -> dict[str, str]:
    """``--set path=value`` pairs, values as text. Raises RequestError with every wrong one."""
    return _pairs(values, "--set", "path=value", "prompt.bpm=96", empty=True)


def _pairs(
    values: list[str] | None, option: str, form: str, example: str, empty: bool = False
) -> dict[str, str]:
    made: dict[str, str] = {}
    problems = []
    for given in values or []:
        name, equals, value = given.partition("=")
        if not (equals and name and (value or empty)):
            problems.append(
                Problem(f"{option} {given!r} is not of the form {form}", f"e.g. {option} {example}")
            )
        elif name in made:
            problems.append(Problem(f"{option} names '{name}' twice", "write it once"))
        else:
            made[name] = value
    if problems:
        raise RequestError(problems)
    return made


def run_options(
    device: str | None,
    dtype: str | None,
    micro_batch: int | None,
    threads: int | None,
    tile_frames: int | None,
    offline: bool,
    cpu_offload: bool,
) -> RunOptions:
    """The library's own options from the command line's. Raises RequestError with every wrong one."""
    from pydantic import ValidationError

    from ..pipeline.options import RunOptions

    given = {
        "device": device,
        "dtype": dtype,
        "micro_batch": micro_batch,
        "threads": threads,
        "tile_frames": tile_frames,
    }
    try:
        return RunOptions.model_validate({**given, "offline": offline, "cpu_offload": cpu_offload})
    except ValidationError as error:
        raise RequestError(
            Problem(
                f"--{str(e['loc'][0]).replace('_', '-')} {e['input']}: {e['msg']}", "see segue run --help"
            )
            for e in error.errors()
        ) from None
