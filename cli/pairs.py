"""`segue pairs`: derive a folder's pairs anew from its groups, audit them, exchange human judgements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..pipeline.errors import Problem, RequestError, did_you_mean
from . import output
from .frame import quiet_stdout
from .options import Json

if TYPE_CHECKING:
    from ..dataset.folder import NightFolder
    from ..scoring.pair_audit import Audit
    from ..scoring.pair_strategy import PairStrategy, Quota


def pairs(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of a night, or of a run.")],
    strategy: Annotated[
        str | None,
        typer.Option(metavar="RULE", help="best_worst, topk, margin or domination; the plan's strategies when left out."),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="WHICH", help="seeds (default), params, repair, reference, human or any.")
    ] = None,
    k: Annotated[int | None, typer.Option("--k", help="topk: takes a side.")] = None,
    margin: Annotated[float | None, typer.Option(help="Least gap, 0 or more.")] = None,
    margin_unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="points (default), or sd: standard deviations within the group.")
    ] = None,
    metric: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="What ranks, overall when left out; with domination, once for each.")
    ] = None,
    cap: Annotated[int | None, typer.Option(help="Pairs at most per group, the widest.")] = None,
    audit: Annotated[bool, typer.Option("--audit", help="Show what margins go with, balance, which settings win.")] = False,
    judgements: Annotated[Path | None, typer.Option(metavar="FILE", help="Import human judgements (JSON lines) first.")] = None,
    export_judgements: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the comparisons still to be judged, blind, as JSON lines.")
    ] = None,
    labeller: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --export-judgements: those this one has not judged.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Derive, and leave pairs.jsonl as it is.")] = False,
    as_json: Json = False,
) -> None:
    """Derive pairs.jsonl anew from groups.jsonl, by the plan's strategies or by the one given here.

    Only takes of one group, of equal length, that are scored and that no gate refused are compared; ties are dropped. The
    plan's quotas hold in any case. Human judgements count where a strategy compares human.
    """
    if labeller is not None and export_judgements is None:
        raise RequestError(Problem("--labeller is read by --export-judgements only", "write --export-judgements FILE too"))
    with quiet_stdout():
        from ..dataset.folder import NightFolder

        folder = NightFolder(out)
        given = _given(strategy, compare, k, margin, margin_unit, metric, cap)
        strategies, quotas = _asked(folder, given)
        document: dict[str, Any] = {"out": str(out), "strategies": [s.model_dump(mode="json") for s in strategies]}
        if judgements is not None:
            document["judgements"] = _import(folder, judgements)
        _warn_unused(folder, strategies)
        document |= _derive(folder, strategies, quotas, audit, dry_run)
        if export_judgements is not None:
            document["open"] = _export(folder, strategies, export_judgements, labeller)
    if as_json:
        output.emit_json(document)
    else:
        _print(document)


# -- what was asked ------------------------------------------------------------------------------------------------------


def _given(
    rule: str | None, compare: str | None, k: int | None, margin: float | None, unit: str | None, metrics: list[str] | None,
    cap: int | None,
) -> PairStrategy | None:
    """The strategy of the command line; None where it has none. Raises RequestError with every wrong option."""
    from pydantic import ValidationError

    from ..scoring.pair_strategy import PairStrategy

    named: dict[str, Any] = {"rule": rule, "compare": compare, "k": k, "margin": margin, "margin_unit": unit, "cap": cap}
    if metrics and rule == "domination":
        named["metrics"] = metrics
    elif metrics:
        if len(metrics) > 1:
            raise RequestError(Problem("several --metric are read by --strategy domination only", "write one, or that strategy"))
        named["metric"] = metrics[0]
    wanted = {name: value for name, value in named.items() if value is not None}
    if not wanted:
        return None
    if rule is None and compare is None:
        options = ", ".join(_option(name) for name in wanted)
        raise RequestError(Problem(f"{options} without --strategy or --compare", "write e.g. --strategy topk too"))
    try:
        return PairStrategy(**wanted)
    except ValidationError as error:
        raise RequestError(_option_problem(e) for e in error.errors(include_url=False)) from None


def _option(field: str) -> str:
    return {"rule": "--strategy", "metrics": "--metric"}.get(field, f"--{field.replace('_', '-')}")


def _option_problem(error: Any) -> Problem:
    if not error["loc"]:
        return Problem(str(error["msg"]).removeprefix("Value error, "))
    option = _option(str(error["loc"][0]))
    if error["type"] == "literal_error":
        known = error["ctx"]["expected"].replace("'", "")
        names = [name for part in known.split(", ") for name in part.split(" or ")]
        return Problem(f"{option} {error['input']} is none.{did_you_mean(str(error['input']), names)}", f"write {known}")
    return Problem(f"{option} {error['input']}: {error['msg']}", "see segue pairs --help")


def _asked(folder: NightFolder, given: PairStrategy | None) -> tuple[Sequence[PairStrategy], Quota | None]:
    """The given strategy, else the plan's; and the plan's quotas."""
    if not folder.plan.exists():
        if given is None and folder.groups.exists():
            cause = f"{folder.root} has no plan.yaml to say how pairs are derived"
            raise RequestError(Problem(cause, "write e.g. --strategy best_worst"))
        return [given] if given is not None else [], None
    from ..dataset.plan import load_plan

    plan = load_plan(folder.plan)
    return [given] if given is not None else list(plan.strategies), plan.quotas


# -- doing it ------------------------------------------------------------------------------------------------------------


def _import(folder: NightFolder, file: Path) -> dict[str, Any]:
    from ..dataset.judgements import import_judgements
    from ..dataset.record import lean_groups

    done = import_judgements(file, folder.judgements, lean_groups(folder.groups, output.warn))
    return {"total": done.total, "new": done.new, "replaced": done.replaced}


def _warn_unused(folder: NightFolder, strategies: Sequence[PairStrategy]) -> None:
    if folder.judgements.exists() and all(s.compare != "human" for s in strategies):
        output.warn("there are judgements, and no strategy compares human: write --compare human, or add it to the plan")


def _derive(
    folder: NightFolder, strategies: Sequence[PairStrategy], quotas: Quota | None, audit: bool, dry_run: bool
) -> dict[str, Any]:
    from collections import Counter

    from ..dataset.pairing import derived, write_pairs
    from ..scoring.pair_audit import Auditor

    auditor = Auditor() if audit else None
    if dry_run:
        found = derived(folder, strategies, quotas, auditor=auditor, on_warning=output.warn)
        counts = dict(sorted(Counter(pair.strategy for pair in found).items()))
    else:
        counts = write_pairs(folder, strategies, quotas, auditor=auditor, on_warning=output.warn)
    done = {"pairs": sum(counts.values()), "by_strategy": counts, "written": None if dry_run else str(folder.pairs)}
    return {**done, "audit": auditor.result().model_dump(mode="json")} if auditor is not None else done


def _export(folder: NightFolder, strategies: Sequence[PairStrategy], file: Path, labeller: str | None) -> dict[str, Any]:
    """Comparisons that the automatic strategies give; of human judgement alone, every two takes of a group."""
    from ..dataset.judgements import export_comparisons, open_comparisons
    from ..dataset.pairing import derived, kept_judgements
    from ..scoring.pair_strategy import PairStrategy

    automatic = [s for s in strategies if s.compare != "human"]
    automatic = automatic or [PairStrategy(compare="any", rule="margin", cap=s.cap) for s in strategies]
    found = list(open_comparisons(derived(folder, automatic), kept_judgements(folder), labeller))
    soundless = sum(not (one["first"]["audio_path"] and one["second"]["audio_path"]) for one in found)
    if soundless:
        output.warn(f"{soundless} of {len(found)} open comparisons lack audio (the plan's audio policy): segue export decodes it")
    return {"comparisons": export_comparisons(file, found), "written": str(file)}


# -- showing it ----------------------------------------------------------------------------------------------------------


def _print(document: dict[str, Any]) -> None:
    if "judgements" in document:
        done = document["judgements"]
        output.say(f"judgements: {done['new']} new, {done['replaced']} replaced, {done['total']} in all")
    where = f", written to {document['written']}" if document["written"] else " (not written)"
    output.say(f"{document['pairs']} pairs{where}")
    output.stdout().print(output.table(("strategy", "pairs"), document["by_strategy"].items(), right=("pairs",)))
    if "audit" in document:
        from ..scoring.pair_audit import Audit

        _print_audit(Audit.model_validate(document["audit"]))
    if "open" in document:
        output.say(f"{document['open']['comparisons']} open comparisons, written to {document['open']['written']}")


def _print_audit(audit: Audit) -> None:
    show: Callable[[Any], None] = output.stdout().print
    share = f" ({audit.share_used:.0%} of the comparable)" if audit.share_used is not None else ""
    used = f"{audit.takes_used} of {audit.takes} takes are on a side{share}"
    output.say(f"{audit.groups_paired} of {audit.groups} groups give pairs; {used}")
    rows: list[tuple[Any, ...]] = [("all", audit.pairs, *audit.correlations.values(), *audit.chosen_higher.values())]
    rows += [(name, one.pairs, *one.correlations.values()) for name, one in audit.strategies.items() if len(audit.strategies) > 1]
    output.say("correlation of the margin with what should not decide, and share of pairs whose chosen side has more of it:")
    columns = ("strategy", "pairs", *audit.correlations, *(f"more {name}" for name in audit.chosen_higher))
    show(output.table(columns, (row + (None,) * (len(columns) - len(row)) for row in rows), right=columns[1:]))
    margins = [(name, metric, *three) for name, one in audit.strategies.items() for metric, three in one.margins.items()]
    show(output.table(("strategy", "margin in", "least", "median", "largest"), margins, right=("least", "median", "largest")))
    for key, balance in audit.balance.items():
        rows = [(value or "(none)", s.groups, s.takes, s.pairs) for value, s in balance.values.items()]
        numbers = ("groups", "takes", "pairs")
        if balance.evenness is not None:
            output.say(f"evenness of pairs over {key}: {balance.evenness:.2f} (1: even)")
        show(output.table((key, *numbers), rows, right=numbers))
    if audit.settings:
        sides = [(b.setting, b.value, b.chosen, b.rejected, b.share) for b in audit.settings]
        numbers = ("chosen", "rejected", "share chosen")
        output.say("settings, of pairs whose sides differ in them (0.50: no bias):")
        show(output.table(("setting", "value", *numbers), sides, right=numbers))
