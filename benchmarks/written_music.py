"""Music that the project did not compose: pieces of music21's corpus, of five centuries, played on a General-MIDI sound font.

    python benchmarks/written_music.py DIR [--pieces 56] [--seed 0]

writes DIR/*.wav (44.1 kHz stereo, 24 bits, about half a minute), for ``benchmarks/defects.py --music DIR``: what is reported in
them as they are, and what is found when it is put in. Detectors were mended on pieces of seeds up to 3. Needs music21 (``pip
install music21``), the program fluidsynth and a sound font; FluidSynth adds its hall and its chorus.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from segue.pipeline.errors import RequestError
from segue.training.corpus.fluid import find_soundfont

QUARTERS, SECONDS, RATE_HZ, PEAK = 72.0, 30.0, 44_100, 0.7
LONGEST_S = 60.0  # of waiting for FluidSynth, which some files of many tempos keep for ever
# Who is played by what: General-MIDI programs, counted from 0, one for each part in turn.
PLAYED = {
    "piano": (("joplin", "chopin", "schumann_clara", "schumann_robert", "beach", "mozart", "beethoven"),
              ((0,), (0,), (4,), (6,), (1,))),
    "quartet": (("haydn", "mozart", "beethoven", "corelli", "handel", "weber"),
                ((40, 40, 41, 42), (48,), (73, 71, 68, 70), (56, 56, 57, 58))),
    "choir": (("bach", "palestrina", "monteverdi", "josquin", "luca", "verdi"),
              ((52,), (19,), (48,), (60, 61, 57, 58), (53,))),
    "tune": (("ryansMammoth", "oneills1850", "airdsAirs", "essenFolksong", "nottingham-dataset", "miscFolk"),
             ((73,), (40,), (21,), (24,), (25,), (110,), (12,), (65,), (68,))),
}  # fmt: skip


def written(piece: Path, programs: tuple[int, ...], out: Path) -> None:
    """The first parts of a piece as MIDI, each on its program. Raises what music21 raises at a piece it can't read."""
    from music21 import converter, instrument, midi, stream

    score: Any = converter.parse(str(piece))
    if isinstance(score, stream.Opus):
        score = score.scores[0]
    for number, part in enumerate(score.parts):
        for element in list(part.recurse()):
            late = element.getOffsetInHierarchy(part) >= QUARTERS and "GeneralNote" in element.classes
            if late or "Instrument" in element.classes:
                element.activeSite.remove(element)
        player = instrument.Instrument()
        player.midiProgram = programs[number % len(programs)]
        part.insert(0, player)
    if not len(score.recurse().notes):
        raise ValueError("no notes")
    file = midi.translate.music21ObjectToMidiFile(score)
    file.open(str(out), "wb")
    file.write()
    file.close()


def played(tune: Path, font: Path) -> np.ndarray:
    """A MIDI file as FluidSynth plays it, ``[T, 2]``: from its first sound on, faded out within the last second, without the
    offset that samples of a sound font may carry. Raises ValueError where nothing is heard."""
    wave = tune.with_suffix(".wav")
    subprocess.run(["fluidsynth", "-ni", "-q", "-g", "0.3", "-r", str(RATE_HZ), "-F", str(wave), str(font), str(tune)],
                   check=True, capture_output=True, timeout=LONGEST_S)  # fmt: skip
    x = soundfile.read(wave, dtype="float32", always_2d=True)[0]
    if not np.any(np.abs(x) > 1e-4):
        raise ValueError("nothing is heard")
    x = x[max(int(np.argmax(np.abs(x).max(axis=1) > 1e-4)) - RATE_HZ // 20, 0) :][: int(SECONDS * RATE_HZ)]
    x = x - x.mean(axis=0)
    tail = min(len(x), RATE_HZ)
    x[len(x) - tail :] *= np.linspace(1, 0, tail, dtype=np.float32)[:, None] ** 2
    return np.asarray(x * (PEAK / np.abs(x).max()), dtype=np.float32)


def chosen(kind: str, count: int, rng: random.Random) -> list[tuple[Path, tuple[int, ...]]]:
    """Pieces of a kind in random order, three times as many as wanted, since some can't be read, each with its programs."""
    from music21 import corpus

    composers, programs = PLAYED[kind]
    pieces = [sorted(p for p in corpus.getPaths() if f"/corpus/{name}/" in p.as_posix()) for name in composers]
    return [(rng.choice(rng.choice([p for p in pieces if p])), rng.choice(programs)) for _ in range(3 * count)]


def play_all(out: Path, pieces: int, rng: random.Random, font: Path) -> None:
    """Write as many pieces of each kind, and say which could not be read or played."""
    from music21.exceptions21 import Music21Exception

    count = pieces // len(PLAYED)
    with tempfile.TemporaryDirectory() as folder:
        tune = Path(folder) / "piece.mid"
        for kind in PLAYED:
            made = set[str]()
            for piece, programs in chosen(kind, count, rng):
                name = f"{kind}_{piece.parent.name}_{piece.stem}_{'-'.join(map(str, programs))}.wav"
                if len(made) == count or name in made:
                    continue
                try:
                    written(piece, programs, tune)
                    samples = played(tune, font)
                except (Music21Exception, ValueError, subprocess.SubprocessError) as error:
                    print(f"{piece.name}: left out, {error}", file=sys.stderr)
                    continue
                soundfile.write(out / name, samples, RATE_HZ, subtype="PCM_24")
                made.add(name)
                print(out / name, flush=True)
            if len(made) < count:
                print(f"{kind}: {len(made)} pieces instead of {count}; another --seed draws others", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--pieces", type=int, default=56)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if find_spec("music21") is None or shutil.which("fluidsynth") is None:
        print("needs music21 (pip install -c constraints.txt music21) and the program fluidsynth (Debian: apt install it)",
              file=sys.stderr)  # fmt: skip
        return 2
    try:
        font = find_soundfont()
    except RequestError as error:
        print(error, file=sys.stderr)
        return 2
    args.out.mkdir(parents=True, exist_ok=True)
    play_all(args.out, args.pieces, random.Random(args.seed), font)
    return 0


if __name__ == "__main__":
    sys.exit(main())
