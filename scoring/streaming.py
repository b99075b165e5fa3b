"""`score_file`: the report of a sound file of any length, in memory that does not grow with it.

The file is read twice. The first reading adds up what belongs to the whole (`FirstPass`: loudness and its range, peaks,
power, offset, left against right), exactly as if it were in memory. The second goes through it in sections of a minute
with five seconds more on either side; each is judged at the whole's gain, a defect counts where it lies in the section
proper, and one that goes on across a seam is put together again. Spectra, silences and gaps of the sections are joined and
judged as those of the whole. Knows neither formula nor thresholds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from .detectors import DETECTORS, Detector, detect
from .detectors.found import MOST_SPANS
from .detectors.level import dc_offset
from .detectors.missing import bandwidth_cut, gap, silence
from .detectors.stereo_field import phase_cancellation
from .expected import NOTHING, Expected
from .profiles import Profile
from .report import Defect, QualityReport
from .samples import Array, as_samples
from .scorer import check_profile, conclude, figures, sampled_figures, score
from .spectra import HOP
from .whole_file import FirstPass, Section, WholeFile, piece_length

OF_THE_WHOLE: tuple[Detector, ...] = (dc_offset, bandwidth_cut, gap, silence, phase_cancellation)  # look at no sample
_MARGIN_S = 5.0
_MOST_VALUES = 12_000_000  # in a section, over all channels
_SHORTEST_SECTION_S = 15.0
_NEAR_S = 0.1  # parts of one defect on both sides of a seam


def score_file(
    path: str | Path, *, profile: Profile = "music", weights: Mapping[str, float] | None = None,
    expected: Expected | None = None, section_s: float = 60.0,
) -> QualityReport:  # fmt: skip
    """The report of a sound file, like `score` of its samples; up to one and a half sections it is just that.

    Of longer ones loudness, range, peaks, crest, offset, stereo figures, silences and gaps are exact; the spectral
    figures differ by the estimate of the noise floor alone (a median over sections instead of over seconds); figures
    that look at samples (distortion, and whatever is added to `scorer.sampled_figures`) are the median over sections.
    Flat crests are told by the peak of their section, and what repeats at a distance beyond a section is not seen. Key,
    tempo and decoder of `expected` are held against each section, and what neighbouring sections both have is one defect.

    Raises ValueError for a file that can't be read, ends before its header says, or holds no samples, for a section
    under 15 s, and for what `score` refuses.

    >>> from tempfile import TemporaryDirectory
    >>> x = 0.1 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)
    >>> with TemporaryDirectory() as folder:
    ...     soundfile.write(path := Path(folder, "tone.wav"), x, 24_000, subtype="FLOAT")
    ...     report = score_file(path)
    >>> report.duration_s, round(report.field("crest_db"), 2)
    (1.0, 3.01)
    """
    check_profile(profile, weights)
    if section_s < _SHORTEST_SECTION_S:
        raise ValueError(f"sections of {section_s} s: too short to judge; give {_SHORTEST_SECTION_S:g} s or more")
    path = Path(path)
    layout = _layout(path, section_s)
    if layout.size <= 1.5 * layout.core:
        x = np.concatenate(list(_pieces(path, 1 << 18)), axis=1)
        return score(x, layout.rate_hz, profile=profile, weights=weights, expected=expected)
    first = FirstPass(layout.channels, layout.rate_hz)
    for piece in _pieces(path, piece_length(layout.rate_hz)):
        first.add(piece)
    if first.size < layout.size and layout.size < 2**60:
        at, whole = first.size / layout.rate_hz, layout.size / layout.rate_hz
        raise ValueError(f"'{path}' is cut short: its header says {whole:.2f} s, {at:.2f} s are there; copy it again")
    a = WholeFile(first, expected or NOTHING)
    if a.non_finite:
        return conclude(a, detect(a), {}, profile, weights)
    defects, values = _through_sections(path, layout, first, a)
    return conclude(a, defects, {**figures(a), **values}, profile, weights)


@dataclass(frozen=True)
class _Layout:
    """How a file is cut: samples a channel in all, in a section proper, and more on either side."""

    size: int
    channels: int
    rate_hz: int
    core: int
    margin: int

    def sections(self, size: int) -> list[tuple[int, int]]:
        """Half-open ranges of the sections proper; the last is half to one and a half of the others."""
        count = max(round(size / self.core), 1)
        edges = [*range(0, count * self.core, self.core), size]
        return list(itertools.pairwise(edges))


def _layout(path: Path, section_s: float) -> _Layout:
    """From the header. Sections start where a frame and a millisecond of the envelope do, so that both fall as they
    would in the whole."""
    try:
        info = soundfile.info(str(path))
    except (OSError, RuntimeError) as error:
        raise ValueError(f"'{path}' can't be read as sound ({error}); give WAV, FLAC, OGG, MP3 or AIFF") from error
    as_samples(np.zeros((max(info.channels, 1), 1), dtype=np.float32), info.samplerate)  # its refusals, before any work
    if info.frames == 0:
        raise ValueError(f"'{path}' holds no samples; export it again")
    grid = HOP * max(round(0.001 * info.samplerate), 1)
    most = max(_MOST_VALUES / info.channels, _SHORTEST_SECTION_S * info.samplerate)
    core = max(int(min(section_s * info.samplerate, most)) // grid, 1) * grid
    return _Layout(info.frames, info.channels, info.samplerate, core, -(-int(_MARGIN_S * info.samplerate) // grid) * grid)


def _pieces(path: Path, size: int) -> Iterator[Array]:
    """The file's samples `[C, ≤ size]`, in order."""
    try:
        with soundfile.SoundFile(str(path)) as file:
            while len(x := file.read(size, dtype="float32", always_2d=True)):
                yield np.ascontiguousarray(x.T)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"'{path}' is damaged or cut short ({error}); copy or export it again") from error


def _with_margins(path: Path, layout: _Layout, size: int) -> Iterator[tuple[int, int, int, Array]]:
    """Section by section: first sample of what is given, first and last of the section proper, and samples `[C, n]`."""
    pieces = _pieces(path, piece_length(layout.rate_hz))
    held, at = next(pieces), 0  # samples held, and where they begin
    for start, end in layout.sections(size):
        low, high = max(0, start - layout.margin), min(size, end + layout.margin)
        parts, have = [held[:, low - at :]], at + held.shape[1]
        while have < high:
            parts.append(next(pieces))
            have += parts[-1].shape[1]
        held, at = np.concatenate(parts, axis=1), low
        del parts
        yield low, start, end, held[:, : high - low]


def _through_sections(
    path: Path, layout: _Layout, first: FirstPass, whole: WholeFile
) -> tuple[tuple[Defect, ...], dict[str, float | None]]:
    """Defects of the whole and the figures that need samples; completes `whole`."""
    own = [d for d in DETECTORS if d not in OF_THE_WHOLE]
    rate = layout.rate_hz
    spectra, silences, broken_off, gaps = [], [], [], []
    found: list[Defect] = []
    values: list[tuple[float, dict[str, float | None]]] = []
    clipped = 0.0
    for low, start, end, x in _with_margins(path, layout, first.size):
        a = Section(x, whole, first.loudest_frame, (start - low, end - low))
        spectra.append(a.core_spectra)
        silences += [(s + low, e + low) for s, e in a.silences]
        broken_off += [s + low for s in a.broken_off]
        gaps += [(s + low, e + low) for s, e in a.gaps]
        clipped += a.flat_tops.share * (end - start)
        found += [d for d in (_kept(d, low / rate, start / rate, end / rate) for d in detect(a, own)) if d is not None]
        values.append(((end - start) / rate, sampled_figures(a)))
    whole.complete(spectra, silences, broken_off, gaps, clipped / first.size)
    seams = [end / rate for _, end in layout.sections(first.size)[:-1]]
    defects = [*_joined(found, seams), *detect(whole, OF_THE_WHOLE)]
    return tuple(sorted(defects, key=lambda d: (d.start_s, d.type, d.end_s))), _medians(values)


def _kept(d: Defect, low_s: float, start_s: float, end_s: float) -> Defect | None:
    """A section's defect at the whole's times, cut to the section proper; None where it lies outside."""
    first, last = d.start_s + low_s, d.end_s + low_s
    if first >= end_s or last < start_s or (last == start_s and first < start_s):
        return None
    return d.model_copy(update={"start_s": round(max(first, start_s), 6), "end_s": round(min(last, end_s), 6)})


def _joined(found: Sequence[Defect], seams: Sequence[float]) -> list[Defect]:
    """Parts of one type that meet at a seam made one: severity is their mean by length, evidence that of the longest.
    Of each type the worst 200 remain."""
    by_type: dict[str, list[Defect]] = {}
    for d in sorted(found, key=lambda d: (d.start_s, d.end_s)):
        out = by_type.setdefault(d.type, [])
        before = next((k for k in range(len(out) - 1, max(len(out) - 9, -1), -1) if _meet(out[k], d, seams)), None)
        if before is None:
            out.append(d)
        else:
            out[before] = _one(out[before], d)
    kept: list[Defect] = []
    for out in by_type.values():
        kept += sorted(out, key=lambda d: -d.severity)[:MOST_SPANS]
    return kept


def _meet(a: Defect, b: Defect, seams: Sequence[float]) -> bool:
    k = int(np.searchsorted(seams, a.end_s - 1e-5))
    return k < len(seams) and a.start_s < seams[k] <= b.start_s + 1e-5 and b.start_s - a.end_s < _NEAR_S


def _one(a: Defect, b: Defect) -> Defect:
    lengths = [max(d.end_s - d.start_s, 1e-6) for d in (a, b)]
    severity = float(np.average([a.severity, b.severity], weights=lengths))
    longest = a if lengths[0] >= lengths[1] else b
    return longest.model_copy(update={"start_s": a.start_s, "end_s": b.end_s, "severity": round(severity, 4)})


def _medians(values: Sequence[tuple[float, Mapping[str, float | None]]]) -> dict[str, float | None]:
    """Median by time of each figure over the sections; None where less than half of the time has it."""
    names = dict.fromkeys(n for _, v in values for n in v)
    made: dict[str, float | None] = {}
    for name in names:
        known = sorted((value, seconds) for seconds, v in values if (value := v.get(name)) is not None)
        weights = np.cumsum([seconds for _, seconds in known])
        enough = bool(known) and weights[-1] >= 0.5 * sum(seconds for seconds, _ in values)
        made[name] = float(known[int(np.searchsorted(weights, weights[-1] / 2))][0]) if enough else None
    return made
