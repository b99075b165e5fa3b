"""The record of a night: prompts settled in order, one after the other, into `groups.jsonl`; how many pairs they give; which
budget is used up.

A prompt is settled when all its jobs are finished and all prompts before it are settled. So the record is always the beginning
of what an undisturbed night would write, whatever order jobs were done in, and however often the night was killed. Knows no
stage and no model.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ..pipeline.atomic import write_error
from ..pipeline.errors import RunError
from ..pipeline.store import Store
from ..scoring.groups import Group, GroupEntry, GroupFacts
from ..scoring.pair_rules import derive
from ..scoring.pair_schema import Pair
from .catalog import NightCatalog, Settled
from .entries import JobResult, groups_of_block
from .folder import NightFolder
from .jobs import Jobs
from .judgements import rename_groups
from .keeping import settle_file
from .pair_index import PairIndex
from .pairing import collector_at_rest, held
from .plan import Plan
from .record import lean_groups
from .refusals import refusal


class Ledger:
    """Settles prompts of `plan` into `folder`. Processes may share it: one settles at a time."""

    def __init__(self, folder: NightFolder, catalog: NightCatalog, plan: Plan, jobs: Jobs, store: Store, night: str) -> None:
        self.folder, self.catalog, self.plan, self.jobs, self.night = folder, catalog, plan, jobs, night
        self._store = store
        self._index: PairIndex | None = None  # opened when the first prompt is settled
        self._per_stratum: Counter[tuple[str, ...]] = Counter()
        self._counted = (0, 0)  # groups of the record whose pairs are in `_per_stratum`, and their bytes

    def close(self) -> None:
        """Let go of what settling has opened."""
        if self._index is not None:
            self._index.close()
            self._index = None

    def spent(self, settled: Settled | None = None) -> str | None:
        """Which budget of pairs or takes the record has used up, in words; None where it has not."""
        now, budget = settled or self.catalog.settled(), self.plan.budget
        if budget.pairs is not None and now.pairs >= budget.pairs:
            return f"{now.pairs} of {budget.pairs} pairs"
        if budget.takes is not None and now.takes >= budget.takes:
            return f"{now.takes} of {budget.takes} takes"
        return None

    def complete(self) -> bool:
        """Whether nothing is left to settle: every prompt is, or a budget is used up."""
        settled = self.catalog.settled()
        return settled.blocks >= self.jobs.blocks or self.spent(settled) is not None

    def settle(self) -> int:
        """Settle every prompt that can be; gives how many."""
        count = 0
        with held(self.folder):
            self._mend()
            while not self.complete():
                if not self._settle_next():
                    break
                count += 1
        return count

    def replace(self, blocks: Callable[[Settled], Iterable[Sequence[JobResult]]], names: Mapping[str, str]) -> Settled:
        """Write the whole record anew, from what the jobs of each settled prompt give now: `blocks` is told what is settled,
        and nobody settles more until the new record stands. `names` are filled while the blocks are read: old id of a group to
        new, for the judgements. Either the old record stands or the new one, whenever it is killed; an error of `blocks` leaves
        the old one."""
        with held(self.folder):
            self._mend()
            self._per_stratum.clear()
            before = self.catalog.settled()
            self._counted = (before.groups, before.bytes)  # nothing counts but what is written now
            rows: list[list[int]] = []
            new, size = self.folder.groups.with_suffix(".new"), 0
            new.unlink(missing_ok=True)
            for block, results in enumerate(blocks(before)):
                groups, pairs = self._groups(block, results)
                lines = _lines(groups)
                _append(new, lines)
                size += len(lines)
                rows.append([block, size, len(groups), sum(len(group.entries) for group in groups), len(pairs)])
            self.catalog.note("replacing", {"rows": rows, "names": dict(names)})
            self._finish_replacing()
            return self.catalog.settled()

    def _finish_replacing(self) -> None:
        """Put a record that was written anew into its place; done again by whoever comes next, where it was killed."""
        told = self.catalog.fact("replacing")
        if told is None:
            return
        new = self.folder.groups.with_suffix(".new")
        try:
            if new.exists():
                new.replace(self.folder.groups)
        except OSError as error:
            raise write_error("the record", self.folder.groups, error) from error
        rename_groups(self.folder.judgements, told["names"])
        self.catalog.resettle(told["rows"], forget="replacing")

    def _mend(self) -> None:
        """End what a killed process had begun: a replacement of the record; lines that it wrote and did not note are cut. Raises
        `RunError` when the record is shorter than it should be."""
        self._finish_replacing()
        wanted = self.catalog.settled().bytes
        path = self.folder.groups
        size = path.stat().st_size if path.exists() else 0
        if size < wanted:
            raise RunError(
                f"{path} is {size} bytes long and should have {wanted}: it was cut or replaced. Restore it from a copy, or "
                "begin the night anew in another folder."
            )
        if size > wanted:
            try:
                os.truncate(path, wanted)
            except OSError as error:
                raise write_error("the record", path, error) from error

    def _settle_next(self) -> bool:
        settled = self.catalog.settled()
        found = self.catalog.results(settled.blocks)
        if found is None:
            return False
        results = [JobResult.model_validate_json(text) for _, text in found if text is not None]
        try:
            self._record(settled, results)
        except BaseException:  # the prompt's pairs may be counted, and it is not in the record
            self._per_stratum.clear()
            self._counted = (0, 0)
            raise
        self._store.discard(key for result in results for key in result.keys)
        return True

    def _record(self, settled: Settled, results: Sequence[JobResult]) -> None:
        """Write what the next prompt's jobs gave into the record, and note that it is there."""
        groups, pairs = self._groups(settled.blocks, results)
        paired = {side.provenance.take for p in pairs for side in (p.chosen, p.rejected) if side.provenance}
        groups = [self._placed(group, paired) for group in groups]
        lines = _lines(groups)
        index = self._index = self._index or PairIndex(self.folder.index, self.folder.groups)
        if self.folder.groups.exists():
            index.catch_up()  # a hand may have changed the record since: what is noted of it after writing must be true
        _append(self.folder.groups, lines)
        index.append(groups, lines)
        takes = sum(len(group.entries) for group in groups)
        end = settled.bytes + len(lines)
        self.catalog.settle(settled.blocks, bytes=end, groups=len(groups), takes=takes, pairs=len(pairs))
        if self._counted[0] == settled.groups:
            self._counted = (settled.groups + len(groups), end)

    def _groups(self, block: int, results: Sequence[JobResult]) -> tuple[list[Group], list[Pair]]:
        """The prompt's groups, gates applied, and the pairs they give within the quotas."""
        made = groups_of_block(results, strata=self.jobs.strata(block), night=self.night)
        groups = [self._gated(group) for group in made]
        return groups, [pair for group in groups for pair in self._counted_pairs(group)]

    def _gated(self, group: Group) -> Group:
        entries = [e.model_copy(update={"refused": refusal(e, group.prompt, self.plan.gates)}) for e in group.entries]
        return group.model_copy(update={"entries": tuple(entries)})

    def _counted_pairs(self, group: Group) -> list[Pair]:
        """The pairs the group gives, within the quotas."""
        quotas = self.plan.quotas
        pairs = derive(group, self.plan.strategies)
        if quotas is None:
            return pairs
        settled = self.catalog.settled()
        if self._counted[0] < settled.groups:  # another process, or an earlier one, has settled some
            with collector_at_rest():
                for earlier in lean_groups(self.folder.groups, after=self._counted):
                    self._take_share(earlier, derive(earlier, self.plan.strategies))
            self._counted = (settled.groups, settled.bytes)
        return self._take_share(group, pairs)

    def _take_share(self, group: GroupFacts, pairs: list[Pair]) -> list[Pair]:
        assert self.plan.quotas is not None
        stratum = tuple(group.strata.get(key, "") for key in self.plan.quotas.by)
        share = pairs[: max(0, self.plan.quotas.pairs - self._per_stratum[stratum])]
        self._per_stratum[stratum] += len(share)
        return share

    def _placed(self, group: Group, paired: set[str]) -> Group:
        """The group, its takes' files where they stay: latents always, audio by policy, and always where no latent stands for
        the sound."""
        entries = []
        for entry in group.entries:
            if entry.latent_path is not None:
                settle_file(self.folder, "latents", *entry_place(entry), stays=True)
            wanted = self.plan.audio == "all" or (self.plan.audio == "paired" and entry.take in paired)
            stays = wanted or entry.latent_path is None
            path = settle_file(self.folder, "audio", *entry_place(entry), stays=stays) if entry.audio_path is not None else None
            entries.append(entry.model_copy(update={"audio_path": self.folder.relative(path) if path else None}))
        return group.model_copy(update={"entries": tuple(entries)})


def entry_place(entry: GroupEntry) -> tuple[int, str, int]:
    """(job, stage, index) out of a take's name in the night."""
    job, stage, index = entry.take.split("/")
    return int(job), stage, int(index)


def _lines(groups: Iterable[Group]) -> bytes:
    return b"".join(group.to_json().encode("utf-8") + b"\n" for group in groups)


def _append(path: Path, data: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error("the record", path, error) from error

