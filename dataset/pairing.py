"""Pairs of a folder that holds groups: read `groups.jsonl`, or the index beside it, derive, replace `pairs.jsonl`.

Works on a night's folder and on that of a single run, which has groups and neither plan nor index. Knows the files, not the
rules.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from ..pipeline.atomic import locked, write_atomic, write_error
from ..scoring.lean_groups import LeanGroup
from ..scoring.pair_audit import Auditor
from ..scoring.pair_rules import derive_all, find_all
from ..scoring.pair_schema import Pair
from ..scoring.pair_strategy import Judgement, PairStrategy, Quota
from .folder import NightFolder
from .judgements import read_judgements
from .pair_index import IndexedGroup, PairIndex
from .record import Warn, lean_groups


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
    counts: Counter[str] = Counter()

    def lines() -> Iterator[bytes]:
        if folder.exists():
            yield from _indexed(folder, strategies, quotas, counts, auditor=auditor, on_warning=on_warning)
            return
        for pair in derived(folder, strategies, quotas, auditor=auditor, on_warning=on_warning):
            counts[pair.strategy] += 1
            yield pair.to_json().encode("utf-8") + b"\n"

    with held(folder) if folder.exists() else contextlib.nullcontext(), collector_at_rest():
        found = lines()  # a running night is between two prompts
        first = next(found, b"")  # before a file is begun: where there is no record, nothing is made
        write_atomic(folder.pairs, itertools.chain((first,), found), "the preference pairs")
    return dict(sorted(counts.items()))


def _indexed(
    folder: NightFolder, strategies: Sequence[PairStrategy], quotas: Quota | None, counts: Counter[str], *,
    auditor: Auditor | None, on_warning: Warn | None,
) -> Iterator[bytes]:
    """The lines of the pairs that `derived` gives, by a night's index; counts each strategy's. The night's lock is held."""
    def watched(index: PairIndex) -> Iterator[IndexedGroup]:
        for group in index.groups():
            if auditor is not None:
                auditor.count(group.id, group.strata, group.takes, len(group.candidates.takes))
            yield group

    with PairIndex(folder.index, folder.groups) as index:
        index.catch_up(on_warning)
        for found in find_all(watched(index), strategies, quotas=quotas, judgements=kept_judgements(folder)):
            line = found.group.line(found)
            if auditor is not None:
                auditor.pair(Pair.from_json(line))
            counts[found.strategy] += 1
            yield line + b"\n"


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
