"""Pairs of a folder that holds groups: read `groups.jsonl`, derive, replace `pairs.jsonl`.

Works on a night's folder and on that of a single run, which has groups and no plan. Knows the files, not the rules.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from ..pipeline.atomic import locked, write_atomic, write_error
from ..pipeline.errors import Problem, RequestError, RunError
from ..scoring.lean_groups import LeanGroup
from ..scoring.pair_audit import Auditor
from ..scoring.pair_rules import derive_all
from ..scoring.pair_schema import Pair
from ..scoring.pair_strategy import Judgement, PairStrategy, Quota
from .folder import NightFolder
from .judgements import read_judgements

Warn = Callable[[str], None]


def lean_groups(path: Path, on_warning: Warn | None = None, *, after: tuple[int, int] = (0, 0)) -> Iterator[LeanGroup]:
    """Every group of a record, in order, as pairs need it; those `after` so many groups and the bytes they take. A last line
    that has no end was torn and is passed over, with a warning.

    Raises `RequestError` where there is no record, `RunError` naming a line that is no group.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise RequestError(Problem(
            f"{path.parent} holds no groups ({path.name} is not there)", "name the folder that segue night or segue run wrote to",
        )) from None  # fmt: skip
    except OSError as error:
        raise RunError(f"{path} can't be read: {error.strerror or error}") from error
    with file:
        file.seek(after[1])
        for number, line in enumerate(file, start=after[0] + 1):
            if not line.endswith(b"\n"):
                if on_warning is not None:
                    on_warning(f"{path}, line {number}: the line has no end, it was torn; it is passed over")
                return
            try:
                yield LeanGroup.from_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(map(str, first["loc"]))
                raise RunError(
                    f"{path}, line {number}: this is no group ({where + ': ' if where else ''}{first['msg']}). "
                    "Restore the file from a copy, or take the line out."
                ) from error


def kept_judgements(folder: NightFolder) -> list[Judgement]:
    """The judgements imported so far."""
    return read_judgements(folder.judgements) if folder.judgements.exists() else []


def derived(
    folder: NightFolder, strategies: Sequence[PairStrategy], quotas: Quota | None = None, *, auditor: Auditor | None = None,
    on_warning: Warn | None = None,
) -> Iterator[Pair]:
    """The pairs that the folder's groups and judgements give, one at a time. An `auditor` is shown groups and pairs."""
    def watched() -> Iterator[LeanGroup]:
        for group in lean_groups(folder.groups, on_warning):
            if auditor is not None:
                auditor.group(group)
            yield group

    for pair in derive_all(watched(), strategies, quotas=quotas, judgements=kept_judgements(folder)):
        if auditor is not None:
            auditor.pair(pair)
        yield pair


def write_pairs(
    folder: NightFolder, strategies: Sequence[PairStrategy], quotas: Quota | None = None, *, auditor: Auditor | None = None,
    on_warning: Warn | None = None,
) -> dict[str, int]:
    """Replace `pairs.jsonl` by what `derived` gives; the number of pairs of each strategy by its name. Raises `RunError` where
    the folder can't be written, and what `lean_groups` raises."""
    with held(folder) if folder.exists() else contextlib.nullcontext():  # a running night is between two prompts then
        counts: Counter[str] = Counter()

        def lines() -> Iterator[bytes]:
            for pair in derived(folder, strategies, quotas, auditor=auditor, on_warning=on_warning):
                counts[pair.strategy] += 1
                yield pair.to_json().encode("utf-8") + b"\n"

        with collector_at_rest():
            found = lines()
            first = next(found, b"")  # before a file is begun: where there is no record, nothing is made
            write_atomic(folder.pairs, itertools.chain((first,), found), "the preference pairs")
    return dict(sorted(counts.items()))


@contextlib.contextmanager
def held(folder: NightFolder) -> Iterator[None]:
    """Nobody else writes the night's record meanwhile; waits for whoever does. Raises `RunError` where there can be no lock."""
    with contextlib.ExitStack() as lock:
        try:
            lock.enter_context(locked(folder.lock))
        except OSError as error:
            raise write_error("the night's lock", folder.lock, error) from error
        yield


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """Python's cycle collector off, for reading a record: its groups are many objects without a cycle, and going through all
    that a process holds again and again took a third of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
