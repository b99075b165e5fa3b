"""Who may read a step checkpoint: takes that were stopped half-way are still noise in part, and no finished sound.

Only a stage that says so (`Stage.finishes`) goes on with one, in the latents of the same autoencoder. Whoever else read it
would judge, mix, save or follow noise without a word. Knows no stage type, only the class facts of `Stage`.
"""

from __future__ import annotations

from collections.abc import Iterator

from .errors import Problem
from .graph import Graph
from .scope import Scope
from .spec import Stage


def checkpoint_readers(graph: Graph, scope: Scope, stage: Stage) -> Iterator[Problem]:
    """Problems of one stage with the step checkpoints it reads."""
    for key, source in graph.sources(scope.stage).items():
        halved = graph.pipeline.stages.get(source)
        told = halved.unfinished() if halved is not None else None
        if halved is None or told is None:
            continue
        if key not in stage.finishes:
            yield scope.problem(
                f"'{source}' stops half-way ({_written(halved, told)}), so its takes are still noise in part, which {stage.type} "
                "would take for sound", f"let a refine stage finish it and read that, or leave {told} out of '{source}'", key,
            )
            continue
        yield from _same_autoencoder(graph, scope, source, key)
        if stage.when is not None:
            yield scope.problem(
                f"takes of '{source}' for which `when` is false would pass by as they are, and they are still noise in part "
                f"({_written(halved, told)})", f"leave when out, or put it on a stage after '{scope.stage}'", "when",
            )


def _same_autoencoder(graph: Graph, scope: Scope, source: str, key: str) -> Iterator[Problem]:
    made, own = graph.info(source), scope.info
    if made is not None and own is not None and made.codec != own.codec:
        yield scope.problem(
            f"'{source}' was stopped half-way in the latents of variant '{made.variant}', and variant '{own.variant}' has "
            "another autoencoder, so it can't go on with them", f"write variant: {made.variant}", "variant",
        )


def checkpoint_outputs(graph: Graph) -> Iterator[Problem]:
    """Step checkpoints that would be written out as sound: named as an output, or read by nobody."""
    stages = graph.pipeline.stages
    for name in dict.fromkeys(graph.outputs):
        told = stages[name].unfinished() if name in stages else None
        if told is None:
            continue
        said = _written(stages[name], told)
        cause = f"'{name}' stops half-way ({said}), so its takes are still noise in part and no sound to write"
        if name in graph.pipeline.outputs:
            yield Problem(cause, "name a stage that finishes it", key=f"outputs[{graph.pipeline.outputs.index(name)}]")
        else:
            fix = f"let a refine stage go on with it: source: {name}; or leave {told} out"
            yield Problem(f"{cause}, and nothing reads it", fix, stage=name, key=told)


def _written(stage: Stage, key: str) -> str:
    return f"{key}: {getattr(stage, key, '…')}"
