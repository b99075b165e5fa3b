"""Ground truth for the detectors: known defects in clean sounds, at five strengths and known random times.

    python benchmarks/defects.py [--split tune|judge|both] [--judge-from SEED] [--clips N] [--only NAME ...] [--all] [--out FILE]
    python benchmarks/defects.py --music FOLDER [--clips N] [--only NAME ...] [--all] [--out FILE]

A line an injector. `precision`, `recall`: at audible strengths, over spans; a detection counts as right when it touches a
true span, 50 ms allowed. `false`: share of clean sounds (all kinds, after a random gain) in which the type is reported;
sounds that have the defect as they are, or nearly (`Sound.has`, `Sound.nearly`), are left out: nothing is put into them either.
`edge`: error of a found span's two ends in ms, median and 95th percentile, at audible strengths; none for defects without
a place. `rises`: share of ladders in which severity never falls from the weakest to the strongest (not found is 0).
`beside` (with --all): other types reported at audible strengths that the clean sound has not and the injector does not
accept, by how often. Thresholds are set on `tune` only; `judge` is what counts. With --music the sounds are stretches of 12 s
of the files in a folder, taken as clean: there `false` means that a type is reported, rightly or not, and what needs a tempo
or a key that is known is not put in.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from injectors.kind import Injector
from injectors.spectrum import INJECTORS as IN_SPECTRUM
from injectors.time import INJECTORS as IN_TIME
from material import FIRST_SEED, Sound, absent, of_files, sounds
from segue.scoring.analysis import Analysis
from segue.scoring.detectors import DETECTORS, detect
from segue.scoring.report import Defect

NEAR_S = 0.05
GAIN_DB = (-20.0, 3.0)
HELD_AGAINST = {"wrong_tempo": ("bpm",), "wrong_key": ("keyscale",)}  # without the fact nothing can be said, falsely or not

INJECTORS = (*IN_TIME, *IN_SPECTRUM)


@dataclass
class Tally:
    """Counts of one injector over all its sounds."""

    right: int = 0
    wrong: int = 0
    hit: int = 0
    missed: int = 0
    clean: int = 0
    alarms: list[str] = field(default_factory=list)
    edges_s: list[float] = field(default_factory=list)
    ladders: int = 0
    rising: int = 0
    found_at: list[list[bool]] = field(default_factory=lambda: [[] for _ in range(5)])
    severities: list[list[float]] = field(default_factory=list)
    beside: Counter[str] = field(default_factory=Counter)

    def result(self) -> dict[str, Any]:
        def share(a: int, b: int) -> float | None:
            return round(a / b, 4) if b else None

        edges = np.array(self.edges_s) * 1000
        return {
            "precision": share(self.right, self.right + self.wrong), "recall": share(self.hit, self.hit + self.missed),
            "false_alarms": share(len(self.alarms), self.clean), "clean_sounds": self.clean, "false_alarms_in": self.alarms,
            "edge_median_ms": round(float(np.median(edges)), 1) if edges.size else None,
            "edge_95_ms": round(float(np.percentile(edges, 95)), 1) if edges.size else None,
            "monotone": share(self.rising, self.ladders), "ladders": self.ladders,
            "found_at_each_strength": [share(sum(f), len(f)) for f in self.found_at],
            "median_severity": [round(float(m), 3) for m in np.median(self.severities, axis=0)] if self.severities else None,
            "beside": dict(self.beside.most_common()),
        }  # fmt: skip


def touches(d: Defect, span: tuple[float, float]) -> bool:
    return d.start_s <= span[1] + NEAR_S and d.end_s >= span[0] - NEAR_S


def compare(found: Sequence[Defect], true: Sequence[tuple[float, float]], tally: Tally, whole: bool) -> None:
    """Count one damaged sound at an audible strength."""
    tally.right += sum(any(touches(d, t) for t in true) for d in found)
    tally.wrong += sum(not any(touches(d, t) for t in true) for d in found)
    for span in true:
        mine = [d for d in found if touches(d, span)]
        tally.hit += bool(mine)
        tally.missed += not mine
        if mine and not whole:
            tally.edges_s += [abs(min(d.start_s for d in mine) - span[0]), abs(max(d.end_s for d in mine) - span[1])]


def detectors_of(kind: str) -> Sequence[Any]:
    named = [d for d in DETECTORS if d.__name__ == kind]
    return named or DETECTORS


def climb(sound: Sound, injector: Injector, tally: Tally, everything: bool) -> None:
    """One ladder: the same places, five strengths, a random gain after each."""
    if injector.defect in (*sound.has, *sound.nearly):
        return
    key = [sound.seed, zlib.crc32(f"{injector.name} {sound.source} {sound.kind}".encode())]
    own = DETECTORS if everything else detectors_of(injector.defect)
    gains = 10 ** (np.random.default_rng([*key, 1]).uniform(*GAIN_DB, 6) / 20)
    before = detect(Analysis(sound.samples * np.float32(gains[5]), sound.rate_hz, sound.expected), own)
    severities = []
    if sound.kind in injector.material and all(map(sound.knows, injector.needs)):
        for level in range(5):
            damaged, true = injector.inject(sound.samples, sound.rate_hz, level, np.random.default_rng(key))
            if not true:
                break
            found = detect(Analysis(damaged * np.float32(gains[level]), sound.rate_hz, sound.expected), own)
            mine = [d for d in found if d.type == injector.defect]
            placed = [d for d in mine if any(touches(d, t) for t in true)]
            severities.append(max((d.severity for d in placed), default=0.0))
            tally.found_at[level].append(bool(placed))
            if level >= injector.audible:
                compare(mine, true, tally, injector.whole)
                allowed = {d.type for d in before} | {injector.defect, *injector.accepts}
                tally.beside.update({d.type for d in found} - allowed)
        if severities:
            tally.severities.append(severities)
            tally.ladders += 1
            tally.rising += bool(np.all(np.diff(severities) >= -1e-9))
    if not all(map(sound.knows, HELD_AGAINST.get(injector.defect, ()))):
        return
    tally.clean += 1
    if any(d.type == injector.defect for d in before):
        tally.alarms.append(str(sound))


def measure(clean: Iterable[Sound], chosen: Sequence[Injector], everything: bool) -> dict[str, Any]:
    """Figures of each chosen injector on clean sounds."""
    tallies = {i.name: Tally() for i in chosen}
    for sound in clean:
        for injector in chosen:
            climb(sound, injector, tallies[injector.name], everything)
    return {name: tally.result() for name, tally in tallies.items()}


def line(name: str, r: dict[str, Any]) -> str:
    def text(value: float | None, width: int, form: str) -> str:
        return f"{'-':>{width}}" if value is None else f"{value:>{width}{form}}"

    return (
        f"{name:22}{text(r['precision'], 10, '.3f')}{text(r['recall'], 8, '.3f')}{text(r['false_alarms'], 8, '.3f')}"
        f"{text(r['edge_median_ms'], 9, '.1f')}{text(r['edge_95_ms'], 8, '.1f')}{text(r['monotone'], 8, '.3f')}"
        f"{r['ladders']:>5}  {' '.join('-' if f is None else f'{f:.2f}' for f in r['found_at_each_strength'])}"
        f"  {' '.join(f'{s:.2f}' for s in r['median_severity'] or ())}  {r['beside'] or ''}"
    )


def show(split: str, result: dict[str, Any]) -> None:
    print(f"{split:22}{'precision':>10}{'recall':>8}{'false':>8}{'edge 50%':>9}{'95% ms':>8}{'rises':>8}{'n':>5}  "
          f"found at each strength · median severity")  # fmt: skip
    for name, figures in result.items():
        print(line(name, figures), flush=True)
        if figures["false_alarms_in"]:
            print(f"    false: {', '.join(figures['false_alarms_in'][:8])}")


PAGE = """# Defects: what is found, how surely

Written by `{command}`: {clips} clean sounds a split (composed music
and its stems, played by the built-in synthesiser and with the real instrument samples of a General-MIDI sound font; sentences
spoken by espeak-ng in 70 voices), known defects put in at five strengths and random times, a random gain after each. A wrong
tempo or key is only asked of what has one. Thresholds were set on other seeds than those judged on. Precision and recall count
spans at audible strengths; *false* is the share of clean sounds in which the type is reported (of those it can be reported in;
left out for `harsh`: music that as it is stands 7.5 dB and more over its tilt between 2 and 5 kHz, nearer to the 10 dB that are
called audible than to the 5 that are not; from 10 on it is harsh, and under it an example of neither, about one in 120);
*edge* the 95th percentile of the error at a span's ends (none where the defect has no place); *rises* the share of ladders in
which severity never falls. The goal is 0.95, 0.95, at most 0.02, 50 ms, 0.98. {left_out}

| injected | type | precision | recall | false | edge, ms | rises | ladders | on tune: recall | false |
|---|---|---|---|---|---|---|---|---|---|
"""


def page(result: dict[str, Any], command: str) -> str:
    """The judged figures as Markdown, with those on the tuned seeds beside."""
    def text(value: float | None, form: str = ".3f") -> str:
        return "–" if value is None else f"{value:{form}}"

    kinds = {i.name: i.defect for i in INJECTORS}
    left_out = " ".join(f"{reason[0].upper()}{reason[1:]}." for reason in result["left_out"])
    head = PAGE.format(command=command, clips=result["clips"], left_out=left_out)
    rows = []
    for name, r in result["judge"].items():
        tuned = result["tune"][name]
        cells = (name, kinds[name], *(text(r[k]) for k in ("precision", "recall", "false_alarms")), text(r["edge_95_ms"], ".0f"),
                 text(r["monotone"]), str(r["ladders"]), text(tuned["recall"]), text(tuned["false_alarms"]))  # fmt: skip
        rows.append(f"| {' | '.join(cells)} |")
    return head + "\n".join(rows) + "\n"


def main() -> None:
    known = {i.name: i for i in INJECTORS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the JSON here as well")
    parser.add_argument("--page", type=Path, help="write a table of both splits in Markdown here")
    parser.add_argument("--split", choices=[*FIRST_SEED, "both"], default="both")
    parser.add_argument("--clips", type=int, default=28, help="clean sounds of each split")
    parser.add_argument("--only", nargs="+", choices=known, default=list(known), metavar="NAME", help=", ".join(known))
    parser.add_argument("--all", action="store_true", help="run every detector on every sound, and print what else is reported")
    parser.add_argument("--judge-from", type=int, default=FIRST_SEED["judge"], metavar="SEED", help="first seed of judge")
    parser.add_argument("--music", type=Path, metavar="FOLDER", help="sound files of your own in place of both splits")
    args = parser.parse_args()
    if args.music is not None and args.page is not None:
        parser.error("--page shows both splits; leave --music out")
    if args.page is not None and args.split != "both":
        parser.error("--page shows both splits side by side; leave --split out")
    chosen = [known[name] for name in args.only]
    first = FIRST_SEED | {"judge": args.judge_from}
    result: dict[str, Any] = {"clips": args.clips}
    material: dict[str, Iterable[Sound]] = {"music": of_files(args.music, args.clips)} if args.music is not None else {}
    if args.music is None:
        result |= {"first_seeds": first, "left_out": absent()}
        for reason in absent():
            print(reason, file=sys.stderr)
        names = FIRST_SEED if args.split == "both" else (args.split,)
        material = {name: sounds(first[name], args.clips) for name in names}
    for name, clean in material.items():
        result[name] = measure(clean, chosen, args.all)
        show(name, result[name])
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if args.page is not None:
        command = f"python benchmarks/defects.py --clips {args.clips} --page {args.page}"
        args.page.write_text(page(result, command), encoding="utf-8")


if __name__ == "__main__":
    main()
