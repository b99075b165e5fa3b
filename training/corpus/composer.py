"""From one seed to a song: style, key, harmony, sections and the notes of every track (times in seconds)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .grooves import drum_bar, drum_fill, percussion_bar
from .styles import INSTRUMENTS, STYLES, Style
from .theory import Chord, Key, make_progression, nearest, voicing

VOWELS = ("la", "oh", "ee", "ah", "oo")
DRUM_TRACKS = ("drums", "percussion")
# Where a bar of 4/4 lasts longer, harmony changes twice in it, so that eight seconds hold a whole progression.
LONG_BAR_S = 1.8


@dataclass(frozen=True)
class Note:
    """One note: start and length in seconds, MIDI pitch, velocity 0–1."""

    start_s: float
    duration_s: float
    pitch: int
    velocity: float


@dataclass(frozen=True)
class Hit:
    """One stroke of a drum or percussion sound."""

    start_s: float
    sound: str
    velocity: float


@dataclass(frozen=True)
class Section:
    """A named stretch of the song with its loudness and the tracks that rest in it."""

    name: str
    start_s: float
    end_s: float


@dataclass
class Song:
    """Everything a renderer and a caption need."""

    seed: int
    style: Style
    mood: str
    bpm: int
    beats: int
    key: Key
    swing: float
    duration_s: float
    instruments: dict[str, str]
    vowel: str
    sections: list[Section]
    chords: list[Chord]
    chord_beats: int
    notes: dict[str, list[Note]] = field(default_factory=dict)
    hits: dict[str, list[Hit]] = field(default_factory=dict)

    @property
    def beat_s(self) -> float:
        return 60.0 / self.bpm

    @property
    def bar_s(self) -> float:
        return self.beats * self.beat_s

    @property
    def bars(self) -> int:
        return int(np.ceil(self.duration_s / self.bar_s))

    def chord(self, bar: int, beat: float = 0.0) -> Chord:
        """The chord that sounds at a position; a beat past the bar's end belongs to the next bar."""
        return self.chords[int((bar * self.beats + beat + 1e-6) // self.chord_beats) % len(self.chords)]

    def time_s(self, bar: int, beat: float) -> float:
        """Time of a position in beats; swing delays the second half of each beat."""
        whole, fraction = divmod(beat, 1.0)
        delayed = fraction
        if self.swing:
            middle = 0.5 + self.swing / 6
            delayed = fraction * middle * 2 if fraction <= 0.5 else middle + (fraction - 0.5) * 2 * (1 - middle)
        return bar * self.bar_s + (whole + delayed) * self.beat_s


def _choose_tracks(style: Style, rng: np.random.Generator) -> dict[str, str]:
    chosen = [track for track, chance in style.tracks.items() if rng.random() < chance]
    for track in sorted(style.tracks, key=lambda name: -style.tracks[name]):
        if len(chosen) < 2 and track not in chosen:
            chosen.append(track)
    while len(chosen) > 5:
        chosen.pop(int(rng.integers(len(chosen))))
    if not set(chosen) - set(DRUM_TRACKS) - {"bass"}:
        chosen.append("keyboard")
    order = [track for track in INSTRUMENTS if track in chosen]
    return {track: str(rng.choice(style.instruments.get(track, INSTRUMENTS[track]))) for track in order}


def _sections(song_bars: int, bar_s: float, duration_s: float, rng: np.random.Generator) -> list[Section]:
    names = ("verse", "chorus") if rng.random() < 0.6 else ("intro", "verse")
    if song_bars < 4 or rng.random() < 0.4:
        return [Section(str(rng.choice(("verse", "chorus"))), 0.0, duration_s)]
    border = (song_bars // 2) * bar_s
    return [Section(names[0], 0.0, border), Section(names[1], border, duration_s)]


def _bass(song: Song, rng: np.random.Generator) -> list[Note]:
    walking = song.style.groove == "swing"
    rhythm = {
        "four": [0.5 + beat for beat in range(song.beats)],
        "funk": [0.0, 0.75, 1.5, 2.5, 3.25],
        "latin": [0.0, 1.5, 3.0],
        "rock": [beat / 2 for beat in range(2 * song.beats)],
        "waltz": [0.0],
    }.get(song.style.groove, [0.0, 1.5, 2.0] if rng.random() < 0.5 else [0.0, 2.0])
    if song.instruments["bass"] == "synth bass" and rng.random() < 0.5:
        rhythm = [beat / 2 for beat in range(2 * song.beats)]
    notes = []
    for bar in range(song.bars):
        positions = [float(beat) for beat in range(song.beats)] if walking else [p for p in rhythm if p < song.beats]
        for index, beat in enumerate(positions):
            end = positions[index + 1] if index + 1 < len(positions) else song.beats
            chord, following = song.chord(bar, beat), song.chord(bar, end)
            root = nearest(chord.root, 38)
            pitch, new = root, beat % song.chord_beats == 0
            if walking and not new:
                leading = following is not chord
                pitch = nearest(following.root, 38) + int(rng.choice((-1, 1))) if leading else nearest(
                    int(rng.choice(chord.classes)), root + 5)
            elif not new and rng.random() < 0.3:
                pitch = nearest(chord.classes[2], root + 5) if rng.random() < 0.6 else root + 12
            start = song.time_s(bar, beat)
            notes.append(Note(start, 0.92 * (song.time_s(bar, end) - start), pitch, 0.9 if index == 0 else 0.75))
    return notes


def _comping(song: Song, track: str, rng: np.random.Generator) -> list[Note]:
    """Chords: held, struck on a rhythm, or broken, as the style has it."""
    centre = {"keyboard": 60, "guitar": 55, "synth": 62, "strings": 62, "brass": 60}.get(track, 60)
    instrument = song.instruments[track]
    held = instrument in ("synth pad", "strings", "cello", "organ") and song.style.groove != "funk"
    broken = instrument in ("synth arpeggio", "nylon guitar") or (
        instrument in ("piano", "acoustic guitar") and song.style.groove in ("none", "light") and rng.random() < 0.7)
    rhythms = {
        "swing": [0.0, 1.5], "funk": [0.5, 1.25, 2.5, 3.25], "latin": [0.0, 0.5, 1.5, 2.5, 3.0], "waltz": [1.0, 2.0],
        "four": [0.5, 1.5, 2.5, 3.5], "rock": [beat / 2 for beat in range(2 * song.beats)],
    }  # fmt: skip
    rhythm = rhythms.get(song.style.groove, [float(beat) for beat in range(song.beats)])
    if rng.random() < 0.3:
        rhythm = [0.0, 1.5, 3.0]
    division = 4 if instrument == "synth arpeggio" else 2
    order = rng.permutation(8) if rng.random() < 0.3 else np.array([0, 1, 2, 1, 3, 2, 1, 2])
    if held:
        rhythm = [float(beat) for beat in range(0, song.beats, song.chord_beats)]
    notes = []
    for bar in range(song.bars):
        if broken:
            for step in range(division * song.beats):
                pitches = voicing(song.chord(bar, step / division), centre)
                ladder = [*pitches, *(pitch + 12 for pitch in pitches)]
                start = song.time_s(bar, step / division)
                pitch = ladder[int(order[step % 8]) % len(ladder)]
                notes.append(Note(start, 1.6 * song.beat_s / division, pitch, 0.8 if step % division == 0 else 0.6))
            continue
        positions = [position for position in rhythm if position < song.beats]
        for index, beat in enumerate(positions):
            end = positions[index + 1] if index + 1 < len(positions) else song.beats
            start = song.time_s(bar, beat)
            length = (0.98 if held else 0.7) * (song.time_s(bar, end) - start)
            pitches = voicing(song.chord(bar, beat), centre)
            notes += [Note(start, length, pitch, 0.7 if index % 2 else 0.8) for pitch in pitches]
    return notes


def _melody_rhythm(beats: int, rng: np.random.Generator) -> list[tuple[float, float]]:
    positions, beat = [], 0.0
    while beat < beats:
        length = float(rng.choice((0.5, 1.0, 1.5, 2.0), p=(0.4, 0.35, 0.1, 0.15)))
        length = min(length, beats - beat)
        if rng.random() < 0.85:
            positions.append((beat, length))
        beat += length
    return positions or [(0.0, float(beats))]


def _melody(song: Song, track: str, rng: np.random.Generator) -> list[Note]:
    """Two rhythmic motifs in alternation; chord tones on strong beats, steps of the scale between them; every second
    bar ends on the tonic where the chord has it."""
    centre = {"vocals": 64, "woodwinds": 74, "brass": 66, "strings": 70, "synth": 72, "guitar": 64, "keyboard": 72}[track]
    if song.instruments[track] == "cello":
        centre = 55
    motifs = [_melody_rhythm(song.beats, rng) for _ in range(2)]
    scale = [song.key.pitch(degree, octave=0) % 12 for degree in range(7)]
    ladder = [pitch for pitch in range(centre - 10, centre + 13) if pitch % 12 in scale]
    place = len(ladder) // 2
    notes = []
    for bar in range(song.bars):
        motif = motifs[bar % 2]
        for beat, length in motif:
            chord = song.chord(bar, beat)
            place = int(np.clip(place + rng.choice((-2, -1, -1, 0, 1, 1, 2)), 0, len(ladder) - 1))
            ending = bar % 2 == 1 and (beat, length) == motif[-1]
            if beat % 1.0 == 0.0 or ending:
                wanted = (song.key.tonic,) if ending and song.key.tonic in chord.classes else chord.classes
                options = [i for i, pitch in enumerate(ladder) if pitch % 12 in wanted]
                place = min(options, key=lambda i: (abs(i - place), i))
            start = song.time_s(bar, beat)
            end = song.time_s(bar, beat + length)
            notes.append(Note(start, 0.94 * (end - start), ladder[place], 0.85 if beat % 1.0 == 0 else 0.7))
    return notes


def _hits(song: Song, track: str, rng: np.random.Generator) -> list[Hit]:
    if track == "drums":
        bar_pattern = drum_bar(song.style.groove, song.beats, rng)
    else:
        bar_pattern = percussion_bar(song.instruments[track], song.beats)
    fill = drum_fill(song.beats, rng) if track == "drums" and song.style.groove not in ("none", "waltz") else {}
    hits = []
    for bar in range(song.bars):
        pattern = dict(bar_pattern)
        if fill and bar % 4 == 3:
            pattern.update(fill)
        for sound, velocities in pattern.items():
            for step in np.flatnonzero(velocities):
                loudness = float(velocities[step]) * float(rng.uniform(0.9, 1.0))
                hits.append(Hit(song.time_s(bar, step / 4), sound, loudness))
        if track == "drums" and bar % 4 == 0 and bar and song.style.groove in ("rock", "backbeat", "march"):
            hits.append(Hit(song.time_s(bar, 0.0), "crash", 0.7))
    return hits


def compose(seed: int, duration_s: float = 8.0) -> Song:
    """Compose a song of ``duration_s`` from ``seed`` (any non-negative integer)."""
    rng = np.random.default_rng([seed, 0x5E60E])
    style = STYLES[int(rng.integers(len(STYLES)))]
    beats = 3 if rng.random() < style.three_four else 4
    low, high = style.bpm
    bpm = int(rng.integers(low, high + 1)) if rng.random() < 0.6 else int(rng.integers(60, 181))
    mode = ("minor" if rng.random() < 0.85 else "dorian") if rng.random() < style.minor else (
        "major" if rng.random() < 0.9 else str(rng.choice(("mixolydian", "lydian"))))
    key = Key(int(rng.integers(12)), mode)
    instruments = _choose_tracks(style, rng)
    chords = make_progression(key, int(rng.choice((2, 4, 4))), bool(rng.random() < style.sevenths), rng)
    bar_s = beats * 60.0 / bpm
    chord_beats = 2 if beats == 4 and bar_s > LONG_BAR_S else beats
    sections = _sections(int(np.ceil(duration_s / bar_s)), bar_s, duration_s, rng)
    song = Song(
        seed, style, str(rng.choice(style.moods)), bpm, beats, key, style.swing, duration_s, instruments,
        str(rng.choice(VOWELS)), sections, chords, chord_beats,
    )  # fmt: skip
    _fill_tracks(song, rng)
    return song


def _fill_tracks(song: Song, rng: np.random.Generator) -> None:
    singers = ("vocals", "woodwinds", "brass", "synth", "strings", "guitar", "keyboard")
    leads = [t for t in singers if t in song.instruments and song.instruments[t] not in ("synth pad", "synth arpeggio")]
    lead = leads[0] if leads else None
    if lead in ("guitar", "keyboard") and len([t for t in song.instruments if t not in (*DRUM_TRACKS, "bass")]) == 1:
        lead = None
    for track in song.instruments:
        if track in DRUM_TRACKS:
            song.hits[track] = _hits(song, track, rng)
        elif track == "bass":
            song.notes[track] = _bass(song, rng)
        elif track == lead or track in ("vocals", "woodwinds") or song.instruments[track] in ("synth lead", "trumpet", "cello"):
            song.notes[track] = _melody(song, track, rng)
        else:
            song.notes[track] = _comping(song, track, rng)
    if len(song.sections) == 2 and song.sections[0].name == "intro":
        border = song.sections[0].end_s
        resting = lead if lead and len(song.instruments) > 2 else None
        if resting:
            song.notes[resting] = [note for note in song.notes[resting] if note.start_s >= border - 1e-6]
