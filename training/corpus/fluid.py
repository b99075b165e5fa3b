"""The second renderer: a General-MIDI sound font through FluidSynth, where both are installed.

Real instrument samples for the same songs: a stem a track, without FluidSynth's own reverb and chorus. Needs the
``fluidsynth`` library and pyfluidsynth (``pip install segue-audio[fluidsynth]``), and a sound font: ``SEGUE_SOUNDFONT``
or one of ``SOUNDFONTS`` (Debian: fluid-soundfont-gm, MIT licence). Knows nothing of balance and captions.
"""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...pipeline.errors import Problem, RequestError

if TYPE_CHECKING:
    from .composer import Song

SOUNDFONTS = (
    "/usr/share/sounds/sf2/FluidR3_GM.sf2", "/usr/share/sounds/sf2/default-GM.sf2",
    "/usr/share/soundfonts/FluidR3_GM.sf2", "/usr/share/soundfonts/default.sf2",
)  # fmt: skip
# General MIDI level 1 programs, counted from 0.
PROGRAMS = {
    "electric bass": 33, "synth bass": 38, "upright bass": 32, "piano": 0, "electric piano": 4, "organ": 16,
    "acoustic guitar": 25, "nylon guitar": 24, "electric guitar": 27, "strings": 48, "cello": 42, "brass": 61,
    "trumpet": 56, "flute": 73, "clarinet": 71, "synth pad": 89, "synth lead": 81, "synth arpeggio": 84, "vocals": 52,
}  # fmt: skip
# General MIDI percussion keys, and the kits of bank 128.
DRUM_KEYS = {
    "kick": 36, "snare": 38, "hat": 42, "ride": 51, "crash": 49, "tom": 45, "clap": 39, "rim": 37, "shaker": 70,
    "conga_low": 64, "conga_high": 63, "tambourine": 54,
}  # fmt: skip
KITS = {"electronic": 25, "brushes": 40}
_SETTINGS = {"gain": 0.4, "channels": 16, "synth.reverb.active": 0, "synth.chorus.active": 0}
_DRUM_CHANNEL, _DRUM_BANK, _HIT_S, _WARNINGS = 9, 128, 0.1, 2
_BLOCK = 64  # FluidSynth computes in blocks of 64 samples; whatever happens, happens at the start of one


def find_soundfont() -> Path:
    """The sound font to play with. Raises RequestError when there is none."""
    named = os.environ.get("SEGUE_SOUNDFONT")
    for place in (named,) if named else SOUNDFONTS:
        if Path(place).is_file():
            return Path(place)
    raise RequestError(Problem(
        f"there is no sound font at {named}" if named else f"no sound font is installed ({', '.join(SOUNDFONTS)})",
        "install one (Debian: apt install fluid-soundfont-gm) or point SEGUE_SOUNDFONT at a General-MIDI .sf2 file; "
        "the built-in synthesiser (renderer synth) needs none.",
    ))  # fmt: skip


class SoundFont:
    """A sound font, read once a process. Each stem gets a synthesiser of its own, so that none hears another's tail.

    Raises RequestError without FluidSynth or without a font.
    """

    def __init__(self) -> None:
        try:
            import fluidsynth
        except (ImportError, OSError) as error:
            raise RequestError(Problem(
                f"FluidSynth is not there: {error}",
                "install the library (Debian: apt install fluidsynth) and pip install 'segue-audio[fluidsynth]'; the "
                "built-in synthesiser (renderer synth) needs neither.",
            )) from error  # fmt: skip
        pointer, number = ctypes.c_void_p, ctypes.c_int

        def declare(name: str, result: Any, *kinds: Any) -> Any:
            return fluidsynth.cfunc(name, result, *((f"argument{n}", kind, 1) for n, kind in enumerate(kinds)))

        # what the binding does not declare itself: float output (16-bit output is dithered anew each time), shared fonts
        self.write_float = declare("fluid_synth_write_float", number, pointer, number, pointer, number, number, pointer,
                                   number, number)  # fmt: skip
        self.add = declare("fluid_synth_add_sfont", number, pointer, pointer)
        self.remove = declare("fluid_synth_remove_sfont", number, pointer, pointer)
        declare("fluid_set_log_function", pointer, number, pointer, pointer)(_WARNINGS, None, None)
        self.make = fluidsynth.Synth
        self._owner = fluidsynth.Synth(**_SETTINGS)
        found = find_soundfont()
        number_of = self._owner.sfload(str(found))
        if number_of < 0:
            raise RequestError(Problem(f"{found} can't be read as a sound font", "use a General-MIDI .sf2 file."))
        self.font = declare("fluid_synth_get_sfont_by_id", pointer, pointer, number)(self._owner.synth, number_of)

    def play(self, channel: int, bank: int, program: int, events: list[tuple[int, int, int, int]], samples: int,
             rate_hz: int) -> np.ndarray:  # fmt: skip
        """``[2, samples]`` float32. Events are (sample, 0 off or 1 on, key, velocity), samples multiples of the block."""
        synth = self.make(samplerate=float(rate_hz), **_SETTINGS)
        number = self.add(synth.synth, self.font)
        synth.program_select(channel, number, bank, program)
        rendered, now = np.zeros((2, samples), np.float32), 0
        for at, on, key, velocity in [*sorted(events), (samples, 0, 0, 0)]:
            until = min(at, samples)
            if until > now:
                left, right = (side[now:].ctypes.data for side in rendered)
                self.write_float(synth.synth, until - now, left, 0, 1, right, 0, 1)
                now = until
            if on:
                synth.noteon(channel, key, velocity)
            else:
                synth.noteoff(channel, key)
        self.remove(synth.synth, self.font)
        synth.delete()
        return rendered


_soundfont = lru_cache(maxsize=1)(SoundFont)


def fluid_stem(song: Song, track: str, rate_hz: int) -> np.ndarray:
    """One track of a song, ``[2, T]`` float32, as the sound font plays it. Raises RequestError without FluidSynth."""
    if track in song.hits:
        channel, bank, program = _DRUM_CHANNEL, _DRUM_BANK, KITS.get(song.instruments[track], 0)
        played = [(hit.start_s, _HIT_S, DRUM_KEYS[hit.sound], hit.velocity) for hit in song.hits[track]]
    else:
        channel, bank, program = 0, 0, PROGRAMS[song.instruments[track]]
        played = [(note.start_s, note.duration_s, note.pitch, note.velocity) for note in song.notes[track]]
    events: list[tuple[int, int, int, int]] = []
    for start_s, duration_s, key, velocity in played:
        start, end = (round(at_s * rate_hz / _BLOCK) * _BLOCK for at_s in (start_s, start_s + duration_s))
        events += [(start, 1, key, max(1, min(127, round(110 * velocity)))), (max(start + _BLOCK, end), 0, key, 0)]
    return _soundfont().play(channel, bank, program, events, round(song.duration_s * rate_hz), rate_hz)
