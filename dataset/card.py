"""The dataset's card: `README.md` with the front matter the hub reads, and what is in the dataset, how it came about, how it
is used.

Holds only what follows from the nights' records, so that the same nights give the same card: no clock, no machine, no
timings. Knows no file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import yaml

from ..scoring.pair_audit import Audit
from .card_usage import usage
from .dedup import EMBEDDING_VERSION, MOVEMENT_COSINE, NEAR_COSINE, REASONS
from .tallies import MARKS, NightTally, PairTally
from .versions import Version

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_BAR = 24
_ROWS = 20


@dataclass(frozen=True)
class Card:
    """Everything a card tells. `splits` are pairs, shards and bytes by name; `patterns` where each split lies."""

    format: str
    license: str
    nights: Sequence[NightTally]
    pairs: PairTally
    splits: Mapping[str, Mapping[str, int]]
    patterns: Mapping[str, str]
    shares: Mapping[str, float]
    dropped: Mapping[str, int]
    dedup: str
    since: str
    since_dropped: int
    versions: Sequence[tuple[Version, int]]
    dataset_version: str
    rate_hz: int | None

    @cached_property
    def audit(self) -> Audit:
        """The figures of the exported pairs."""
        return self.pairs.auditor.result()

    def text(self) -> str:
        """The card, in Markdown."""
        name = self.nights[0].name if len(self.nights) == 1 else " + ".join(n.name for n in self.nights)
        parts = [
            f"---\n{self._front(name)}---", f"# {_line(name)}", *(n.about.strip() for n in self.nights if n.about.strip()),
            self._summary(), self._splits(), *usage(self.format, self.rate_hz, list(self.splits)), self._nights(),
            self._marks(), self._pairs(), self._left_out(), self._strata(), self._versions(), self._defects(), self._example(),
            self._made_with(), self._licence(),
        ]  # fmt: skip
        return "\n\n".join(part for part in parts if part) + "\n"

    def _front(self, name: str) -> str:
        size = next((text for limit, text in _SIZES if self.pairs.pairs < limit), "n>1M")
        files = [{"split": split, "path": pattern} for split, pattern in self.patterns.items()]
        front = {
            "license": self.license, "pretty_name": _line(name), "task_categories": ["text-to-audio"],
            "tags": ["preference", "dpo", "audio", "music", "segue"], "size_categories": [size],
            "configs": [{"config_name": "default", "data_files": files}],
        }  # fmt: skip
        return yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)

    def _summary(self) -> str:
        takes, groups = sum(n.takes for n in self.nights), sum(n.groups for n in self.nights)
        return (
            f"{self.pairs.pairs} preference pairs (chosen, rejected) under {len(self.pairs.prompts)} prompts, derived from "
            f"{takes} takes in {groups} groups: the takes of a group share prompt, conditioning and scoring. Dataset version "
            f"`{self.dataset_version}`."
        )

    def _splits(self) -> str:
        rows = [(name, s["pairs"], s["files"], f"{s['bytes'] / 1e6:.1f} MB") for name, s in self.splits.items()]
        shares = ", ".join(f"{name} {share:g}" for name, share in self.shares.items())
        return "## Splits\n\n" + _table(("split", "pairs", "files", "size"), rows) + (
            f"\n\nA prompt belongs to one split, by a hash of it ({shares}), and stays there when the dataset grows."
        )

    def _nights(self) -> str:
        head = ("night", "plan begun", "seed", "groups", "takes", "scored", "refused by a gate", "silent", "not finite", "sound")
        rows = [
            (n.name, n.created or "–", n.seed if n.seed is not None else "–", n.groups, n.takes, n.scored, n.refused, n.silent,
             n.broken, f"{n.seconds / 3600:.2f} h") for n in self.nights
        ]  # fmt: skip
        scorers = sorted(set().union(*(n.scorers for n in self.nights)))
        told = ", ".join(f"`{s}`" for s in scorers) or "nobody"
        return f"## How it was made\n\n{_table(head, rows)}\n\nScored by {told}."

    def _marks(self) -> str:
        every: Counter[int] = sum((n.marks for n in self.nights), Counter())
        top = max(every.values(), default=0)
        if not top:
            return ""
        rows = [
            (f"{i * MARKS:g} to {(i + 1) * MARKS:g}", every[i], self.pairs.chosen[i], self.pairs.rejected[i],
             "█" * round(_BAR * every[i] / top))
            for i in range(min(every), max(every) + 1)
        ]
        return "## Marks\n\nOverall scores, 0 to 10; chosen and rejected are sides of pairs.\n\n" + _table(
            ("score", "takes", "chosen", "rejected", ""), rows
        )

    def _pairs(self) -> str:
        audit = self.audit
        rows = []
        for name, s in audit.strategies.items():
            margins = (f"{metric} {low:.3g} / {mid:.3g} / {high:.3g}" for metric, (low, mid, high) in s.margins.items())
            rows.append((name, s.pairs, "; ".join(margins)))
        goes = ", ".join(f"{name} {value:+.2f}" for name, value in audit.correlations.items() if value is not None)
        wins = ", ".join(f"{name} {value:.0%}" for name, value in audit.chosen_higher.items() if value is not None)
        parts = ["## Pairs by strategy", _table(("strategy", "pairs", "margin: least / median / largest"), rows)]
        if goes or wins:
            parts.append(
                f"What should not decide: the margin's correlation with it: {goes or 'none to tell'}. How often the chosen side "
                f"had more of it: {wins or 'none to tell'}."
            )
        if audit.settings:
            biased = [(s.setting, s.value, s.chosen, s.rejected, f"{s.share:.0%}") for s in audit.settings[:_ROWS]]
            parts.append("Pairs whose sides differ in a setting, by its value:")
            parts.append(_table(("setting", "value", "chosen", "rejected", "share chosen"), biased))
        return "\n\n".join(parts)

    def _left_out(self) -> str:
        lines = [f"- {count}: {REASONS[reason]}" for reason, count in self.dropped.items() if count]  # type: ignore[index]
        if self.since_dropped:
            lines.append(f"- {self.since_dropped}: made before `{self.since}`")
        how = {
            "near": f"by the hash of the decoded samples, then by a cosine of {NEAR_COSINE} of spectral embeddings (version "
                    f"{EMBEDDING_VERSION}) with one of {MOVEMENT_COSINE} of levels over time",
            "exact": "by the hash of the decoded samples", "none": "",
        }[self.dedup]  # fmt: skip
        head = f"## Left out\n\nDeduplicated {how}." if how else "## Left out\n\nNot deduplicated."
        return head + ("\n\n" + "\n".join(lines) if lines else " Nothing fell out.")

    def _strata(self) -> str:
        parts = []
        for name, balance in self.audit.balance.items():
            most = sorted(balance.values.items(), key=lambda item: (-item[1].pairs, item[0]))
            rows = [(value or "–", s.groups, s.takes, s.pairs) for value, s in most[:_ROWS]]
            even = "" if balance.evenness is None else f" (evenness of pairs {balance.evenness:.2f}; 1 is even)"
            more = f"\n\n… and {len(most) - _ROWS} more" if len(most) > _ROWS else ""
            parts.append(f"### {_line(name)}{even}\n\n" + _table(("value", "groups", "takes", "pairs"), rows) + more)
        return "## Balance\n\n" + "\n\n".join(parts) if parts else ""

    def _versions(self) -> str:
        if not self.versions:
            return ""
        rows = [
            (f"`{v.id[:12]}{'+' + v.id.partition('+')[2][:8] if '+' in v.id else ''}`", v.model_id, v.variant, v.takes,
             "–" if v.mean is None else f"{v.mean:.2f}", sides) for v, sides in self.versions
        ]  # fmt: skip
        table = _table(("version", "model", "variant", "takes", "mean score", "sides of pairs"), rows)
        return (
            "## Versions\n\nBy the fingerprint of the weights, oldest first; `segue export --since FINGERPRINT` keeps what was "
            f"made by it or after it.\n\n{table}"
        )

    def _defects(self) -> str:
        every: Counter[str] = sum((n.defects for n in self.nights), Counter())
        rows = sorted(every.items(), key=lambda item: (-item[1], item[0]))[:_ROWS]
        return "## Defects found\n\n" + _table(("defect", "takes"), rows) if rows else ""

    def _example(self) -> str:
        if self.pairs.example is None:
            return ""
        text = json.dumps(self.pairs.example, indent=2, ensure_ascii=False)
        fence = "`" * max(3, 1 + max((len(run) for run in _runs(text)), default=0))
        return f"## A pair\n\nThe fixed part of the first one:\n\n{fence}json\n{text}\n{fence}"

    def _made_with(self) -> str:
        rows = []
        for night in self.nights:
            facts = {k: v for k, v in night.numerics.items() if k != "versions"}
            versions = night.numerics.get("versions")
            facts |= versions if isinstance(versions, Mapping) else {}
            rows += [(night.name, key, value) for key, value in facts.items()]
        return "## Numerics\n\n" + _table(("night", "what", "value"), rows) if rows else ""

    def _licence(self) -> str:
        models = ", ".join(f"`{m}`" for m in sorted(self.pairs.models)) or "no model"
        told = "The licence was not stated when this was exported." if self.license == "unknown" else f"Licence: {self.license}."
        return f"## Licence\n\n{told} The takes were made by {models}, whose own terms apply as well."


def _line(text: object) -> str:
    """Text on one line that a table or a heading can hold."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_line(cell) for cell in line) + " |" for line in lines)


def _runs(text: str) -> Iterable[str]:
    """Runs of backquotes in a text."""
    run = ""
    for c in text + " ":
        if c == "`":
            run += c
        elif run:
            yield run
            run = ""
