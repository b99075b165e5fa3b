"""What rings whatever is played: resonances, and the lines a decoder's strides leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import median_filter

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from ..spectra import frame_energies, stft_blocks
from ..tones import FRAME_S, Tones
from .found import found
from .tonal_balance import bite_db, bite_severity

_LOWEST_HZ, _NOTES_HZ = 1_400.0, 2_000.0  # of a resonance, and up to where notes lie; below, one with vibrato is as wide
_DB_AN_OCTAVE = 1.0  # so much more is asked below the second, for each octave
_MOST, _WITHIN, _BESIDE = 0.9, 24, 4  # of the bands (of 1/48 octave) within half an octave, but for those beside it
_EACH_DB, _SIDES_DB, _SHORT_DB = 10.0, 4.0, 5.0  # at most, of one way to look, over its own sides, and in short frames
_SHARE, _STANDS_DB = 1 / 6, 6.0
_OCTAVE_DB, _OCTAVE_MOST_DB, _TRIES = 4.0, 6.0, 4  # what stands an octave away counts against, from here on, and at most
_MILD_DB, _WORST_DB = 7.0, 18.0
_LINE_DB = 12.0
_HIT_DB, _HIT_TWICE = 2.0, 2.0
_SELDOM, _OFTEN = 0.2, 0.4  # quantiles: four frames of five lie above, and three of five
_FRAMES = 8
_WIDE, _CORE, _WEAKEST = 1 / 30, 1 / 80, 0.2  # octaves to either side; of its bins
_SHORT_S, _SHORT_WIDTH = 0.03, 1 / 60
_SURROUNDINGS = 33  # bands
_LEAST = 1e-10

_LOWEST_COMB_HZ = 100.0  # lines closer than this can't be told apart here
_COMB_LINES, _TWO_HALVES = 3, 12
_COMB_DB, _FEW_COMB_DB, _COMB_WORST_DB = 3.2, 7.5, 30.0  # of twelve lines and more, of fewer: three notes may lie on three lines
_BETWEEN_LINES = np.array([-0.42, -0.37, -0.31, -0.23, 0.23, 0.31, 0.37, 0.42])  # of the way to the next; none a simple ratio
_MIDDLE = 0.3  # of the lines, by how far they stand out: what a third of them do, as notes at a third of the rate, does not count


def _levels(x: Array, n_fft: int, step: int, quietest: float) -> Iterator[Array]:
    """Power `[n, F]` of every `step`-th frame (half overlapped) not under `quietest` of the loudest."""
    energies = frame_energies(x, n_fft, n_fft // 2)
    chosen = np.flatnonzero(energies > quietest * energies.max())[::step]
    for z in stft_blocks(x, chosen, n_fft, n_fft // 2, 48):
        power = (np.square(z.real) + np.square(z.imag)).mean(axis=0)
        yield power + np.float32(_LEAST) * power.mean(axis=1, keepdims=True) + np.float32(1e-20)


def _over_surroundings(level: Array) -> Array:
    return np.asarray(level - median_filter(level, size=(1, _SURROUNDINGS), mode="nearest"))


def _bins(hz: Array, octaves: float, bin_hz: float) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """First and past the last of the bins within so many octaves to either side."""
    low, high = (np.round(hz * 2 ** (side * octaves) / bin_hz).astype(int) for side in (-1, 1))
    return low, np.maximum(high, low + 1) + 1


def _weakest(level: Array, hz: Array, octaves: float, bin_hz: float) -> Array:
    """The weakest fifth of the bins around each frequency, of a level or a power `[n, F]`: `[n, B]`."""
    out = np.zeros((len(level), hz.size), np.float32)
    for k, (first, end) in enumerate(zip(*_bins(hz, octaves, bin_hz), strict=True)):
        rank = int(_WEAKEST * (end - first - 1))
        out[:, k] = np.partition(level[:, first:end], rank, axis=1)[:, rank]
    return out


def _mean_db(power: Array, hz: Array, octaves: float, bin_hz: float) -> Array:
    """Level of the mean power `[n, F]` around each frequency, dB: `[n, B]`."""
    low, high = _bins(hz, octaves, bin_hz)
    total = np.cumsum(np.pad(power.astype(np.float64), ((0, 0), (1, 0))), axis=1)
    return np.asarray(10 * np.log10((total[:, high] - total[:, low]) / (high - low) + 1e-20))


def _core_db(a: Analysis, hz: Array) -> Array:
    """As `Tones.narrow_db`, in a band of ±1/80 octave: `[n, B]`."""
    n_fft = 1 << int(np.ceil(np.log2(FRAME_S * a.rate_hz)))
    levels = _levels(a.samples, n_fft, 2, 1e-5)
    return np.concatenate([_over_surroundings(10 * np.log10(_weakest(p, hz, _CORE, a.rate_hz / n_fft))) for p in levels])


def _short_db(a: Analysis, hz: Array) -> Array:
    """How far the mean power within ±1/60 octave lies above that of a third of an octave to either side (their median) in
    frames of 30 to 60 ms, in which a partial with vibrato is at one place: `[n, B]`."""
    n_fft = 1 << int(np.ceil(np.log2(_SHORT_S * a.rate_hz)))
    levels = _levels(a.samples, n_fft, 2, 1e-4)
    return np.concatenate([_over_surroundings(_mean_db(p, hz, _SHORT_WIDTH, a.rate_hz / n_fft)) for p in levels])


def over_most_db(level: Array) -> Array:
    """How far each band `[B]`, of 1/48 octave, lies above nine tenths of those within half an octave of it; the three to either
    side, which a resonance lifts as well, are left out.

    >>> level = np.zeros(97)
    >>> level[38:54], level[80] = 3.0, 8.0  # something wide, and one band
    >>> over_most_db(level)[[45, 80]].tolist()
    [0.0, 8.0]
    """
    around = sliding_window_view(np.pad(level, _WITHIN, mode="edge"), 2 * _WITHIN + 1)
    beside = np.concatenate([around[:, : _WITHIN - _BESIDE + 1], around[:, _WITHIN + _BESIDE :]], axis=1)
    rank = round(_MOST * (beside.shape[1] - 1))
    return np.asarray(level - np.partition(beside, rank, axis=1)[:, rank])


def _over_sides_db(level: Array) -> Array:
    """How far each band `[B]` lies above the higher of the two a twelfth of an octave away."""
    padded = np.pad(level, _BESIDE, mode="edge")
    return np.asarray(level - np.maximum(padded[: -2 * _BESIDE], padded[2 * _BESIDE :]))


def _capped(level: Array) -> Array:
    """What a band counts for, of one way to look, dB."""
    return np.clip(over_most_db(level), 0.0, _EACH_DB)


def _rings_db(a: Analysis) -> tuple[Array, list[Array]]:
    """How surely each band of `Tones.narrow_hz` rings, dB (none more than `_STANDS_DB` where the rest need not be looked at), and
    the levels `[B]` that were looked at.

    A resonance lifts whatever is played, so it stands out (`over_most_db`) in every way one can look: between the partials within
    ±1/30 octave (`Tones.narrow_db`) and within ±1/80 in four frames of five, in what lies between the partials of the mean level,
    and in the mean power. It has two sides (`_over_sides_db`), where the mode of a cymbal is wide, and it stands out in two short
    frames of five, in which what wavers is somewhere else. A note does some of that, and far: so of each way at most 10 dB count
    (4 of the sides, 5 of the short frames). What stands out in long frames by 2 dB more than in two short ones of five is hit now
    and then, as a drum is, and what does in three short frames of five by 12 dB more than in long ones is a line that comes and
    goes: what is more is taken off (twice of the one). A sixth of it all, less 1 dB an octave below 2 kHz, where notes are."""
    hz, t = a.tones.narrow_hz, a.tones
    bin_hz, typical = float(t.frequencies[1]), t.typical_db[None]
    wide = np.quantile(t.narrow_db, _SELDOM, axis=0)
    levels = [wide, _weakest(typical, hz, _CORE, bin_hz)[0], _mean_db(t.power[None], hz, _WIDE, bin_hz)[0]]
    sides = np.clip(_over_sides_db(_weakest(typical, hz, _WIDE, bin_hz)[0]), 0.0, _SIDES_DB)
    rings = _SHARE * (sum(map(_capped, levels)) + sides) + _DB_AN_OCTAVE * np.log2(np.minimum(hz / _NOTES_HZ, 1.0))
    rings[hz < _LOWEST_HZ] = -np.inf
    if rings.max() + _SHARE * (_EACH_DB + _SHORT_DB) <= _STANDS_DB:
        return rings, levels
    core = np.quantile(_core_db(a, hz), _SELDOM, axis=0)
    levels.append(core)
    rings += _SHARE * _capped(core)
    if rings.max() + _SHARE * _SHORT_DB <= _STANDS_DB:
        return rings, levels
    often, less_often = np.quantile(_short_db(a, hz), (_OFTEN, 1 - _OFTEN), axis=0)
    hit, line = np.maximum(core - less_often - _HIT_DB, 0.0), np.maximum(often - wide - _LINE_DB, 0.0)
    rings += _SHARE * (np.clip(less_often, -_SHORT_DB, _SHORT_DB) - _HIT_TWICE * hit - line)
    return rings, levels


def _octave_db(a: Analysis, hz: float) -> float:
    """How far what lies an octave below a frequency or an octave above it, whichever is more, stands out of its surroundings
    in four frames of five, dB (0 and more): a note that is held stands out at each of its partials, a resonance at one place."""
    around = hz * 2 ** (np.arange(-2 * _WITHIN, 2 * _WITHIN + 1) / (2 * _WITHIN))  # none reaches the other's middle
    octaves = [bands for bands in (around / 2, around * 2) if bands[-1] < 0.45 * a.rate_hz]
    if not octaves:
        return 0.0
    level = over_most_db(np.quantile(_core_db(a, np.concatenate(octaves)), _SELDOM, axis=0))
    return max(0.0, float(level.reshape(len(octaves), -1)[:, 2 * _WITHIN - 2 : 2 * _WITHIN + 3].max()))


def _resonance(a: Analysis) -> tuple[float, float]:
    """Frequency in Hz of the band that stands out most of those that ring, and how far, dB (the mean of the ways to look, as
    much as it is); 0 where none does. What stands out an octave away as well (`_octave_db`) is a held note's: what is more
    than 4 dB of that, up to 6, counts against it as a way to look counts for it."""
    hz = a.tones.narrow_hz
    if not hz.size:
        return 0.0, 0.0
    rings, levels = _rings_db(a)
    if rings.max() <= _STANDS_DB:
        return 0.0, 0.0
    stands = np.where(rings > _STANDS_DB, np.mean([over_most_db(level) for level in levels], axis=0), -np.inf)
    for _ in range(_TRIES):
        best = int(stands.argmax())
        if stands[best] == -np.inf:
            break
        against = min(max(_octave_db(a, float(hz[best])) - _OCTAVE_DB, 0.0), _OCTAVE_MOST_DB)
        if rings[best] - _SHARE * against > _STANDS_DB:
            return float(hz[best]), float(stands[best])
        stands[max(best - _BESIDE, 0) : best + _BESIDE + 1] = -np.inf
    return 0.0, 0.0


def harsh(a: Analysis) -> Iterator[Defect]:
    """`harsh`: one narrow resonance between 1.4 and 10 kHz that stands out whatever is played (see `_rings_db`; 7 dB and less are
    severity 0.1, 18 dB are 1; mostly it is the weakest fifth of a narrow band, so the peak itself is higher), or 2 to 5 kHz more
    than 8.5 dB above the line through the bands around them (15 dB is 1), and more than 5.5 dB between the partials too.

    >>> f = np.fft.rfftfreq(48_000, 1 / 24_000)
    >>> z = np.fft.rfft(0.1 * np.random.default_rng(0).standard_normal(48_000))
    >>> x = np.fft.irfft(np.where((f > 1_800) & (f < 5_600), 10 ** (18 / 20), 1.0) * z)  # 18 dB more
    >>> [(d.type, d.start_s, d.end_s, d.severity, d.evidence["what"]) for d in harsh(Analysis(x[None], 24_000))]
    [('harsh', 0.0, 2.0, 1.0, 'excess')]
    """
    if a.tones.times_s.size < _FRAMES:
        return
    hz, peak = _resonance(a)
    whole = (0, a.samples.shape[1])
    ringing = 0.1 + 0.9 * max(peak - _MILD_DB, 0.0) / (_WORST_DB - _MILD_DB) if hz > 0 else 0.0
    excess = bite_db(a)
    biting = bite_severity(excess)
    if max(ringing, biting) > 0:
        yield found(
            "harsh", max(ringing, biting), whole, a, what="resonance" if ringing >= biting else "excess",
            resonance_hz=round(hz), resonance_db=round(peak, 1), excess_db=round(excess, 1),
        )  # fmt: skip


def comb_frequencies(rate_hz: int, strides: Sequence[int]) -> dict[float, Array]:
    """Where a convolutional decoder can leave lines: for each of its transposed convolutions the rate at which it takes its
    input, in Hz, and that rate's multiples below half of `rate_hz`. `strides` are the autoencoder's down-sampling ratios
    from the waveform inwards (the decoder's last layer first). A kernel that covers its stride unevenly repeats with the
    rate of its input (Odena et al., "Deconvolution and Checkerboard Artifacts", Distill 2016; Pons et al., "Upsampling
    Artifacts in Neural Audio Synthesis", ICASSP 2021).

    >>> {hz: len(lines) for hz, lines in comb_frequencies(48_000, (2, 4, 4, 6, 10)).items()}
    {24000.0: 0, 6000.0: 3, 1500.0: 15, 250.0: 95, 25.0: 959}
    >>> comb_frequencies(48_000, (2, 4))[6000.0].tolist()
    [6000.0, 12000.0, 18000.0]
    """
    rates = rate_hz / np.cumprod(np.asarray(strides, dtype=np.float64))
    return {float(r): r * np.arange(1, int(np.ceil(rate_hz / 2 / r))) for r in rates}


def _stands_at(t: Tones, hz: Array) -> Array:
    """How steadily the sound stands out at each frequency, dB: the best of the three nearest bins."""
    at = np.clip(np.round(hz / t.frequencies[1]).astype(int), 1, t.frequencies.size - 2)
    return np.maximum(np.maximum(t.steady_db[at - 1], t.steady_db[at]), t.steady_db[at + 1])


def _over_between_db(t: Tones, lines: Array, layer_hz: float) -> float:
    """How much steadier lines stand out than what lies between them to both sides, dB: the mean over the middle three tenths
    of the lines, so that notes on a third of them do not count."""
    between = np.mean([_stands_at(t, lines + part * layer_hz) for part in _BETWEEN_LINES], axis=0)
    over = np.sort(_stands_at(t, lines) - between)
    out = int((1 - _MIDDLE) / 2 * over.size)
    return float(over[out : over.size - out].mean())


def decoder_comb(a: Analysis) -> Iterator[Defect]:
    """`decoder_comb`: steady lines at the multiples of a layer rate of the decoder that made the sound
    (`Expected.strides`; nothing without them), by more than 3.2 dB over frequencies between them (7.5 where they are fewer than
    twelve; 30 dB is severity 1). The middle of the multiples counts (see `_over_between_db`), or that of the upper half of
    twelve and more: in the lower, music hides them.

    >>> from ..expected import Expected
    >>> lines = np.sin(2 * np.pi * 1_500 * np.arange(1, 8)[:, None] * np.arange(48_000) / 24_000).sum(axis=0)
    >>> x = (0.1 * np.random.default_rng(0).standard_normal(48_000) + 0.1 * lines)[None]
    >>> a = Analysis(x, 24_000, Expected(strides=(4, 4)))  # layers at 6 and 1.5 kHz
    >>> [(d.type, d.start_s, d.end_s, d.severity > 0.9, d.evidence["layer_hz"]) for d in decoder_comb(a)]
    [('decoder_comb', 0.0, 2.0, True, 1500.0)]
    """
    if a.expected.strides is None or a.tones.times_s.size < _FRAMES:
        return
    worst, worst_db, rate, lines = 0.0, 0.0, 0.0, 0
    for layer_hz, multiples in comb_frequencies(a.rate_hz, a.expected.strides).items():
        used = multiples[(multiples >= 200.0) & (multiples < 0.47 * a.rate_hz)]
        if layer_hz < _LOWEST_COMB_HZ or used.size < _COMB_LINES:
            continue
        parts = [used, used[used.size // 2 :]] if used.size >= _TWO_HALVES else [used]
        over = max(_over_between_db(a.tones, part, layer_hz) for part in parts)
        least = _COMB_DB if used.size >= _TWO_HALVES else _FEW_COMB_DB
        severity = 0.1 + 0.9 * (over - least) / (_COMB_WORST_DB - least)
        if over > least and severity > worst:
            worst, worst_db, rate, lines = severity, over, layer_hz, int(used.size)
    if worst > 0:
        yield found(
            "decoder_comb", worst, (0, a.samples.shape[1]), a,
            layer_hz=round(rate, 3), lines=lines, over_surroundings_db=round(worst_db, 1),
        )  # fmt: skip
