"""What rings whatever is played: resonances, and the lines a decoder's strides leave behind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.ndimage import maximum_filter1d, median_filter, uniform_filter1d

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from ..spectra import frame_energies, stft_blocks
from ..tones import FRAME_S, Tones
from .found import found
from .tonal_balance import bite_db, bite_severity

_LOWEST_HZ = 1_400.0  # of a resonance; below, a note with vibrato fills bands as wide as these
_SELDOM, _SHORT_SELDOM = 0.2, 0.4
_STANDS_DB, _WORST_DB = 4.3, 14.0
_BANDS, _BROAD, _MOST_DB = 5, 2.5, 10.0  # a resonance has sides: these bands about it stand out as well, by their mean
_AWAY = 1 / 5  # octaves; nearer, it is the same, or its skirt,
_LINE_DB, _LINE_SHORT_DB = 14.0, 26.0  # by so much more at most does the middle of a resonance stand out than all of it
_RIVAL = 0.8  # of what the next stands out by: a sound of many such bands has none that rings, but one beside a formant does
_FRAMES = 8
_CORE, _WEAKEST = 1 / 80, 0.2  # octaves to either side; of its bins
_SHORT_S, _SHORT_WIDTH = 0.03, 1 / 60
_SURROUNDINGS = 33  # bands of 1/48 octave
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


def _core_db(a: Analysis, hz: Array) -> Array:
    """As `Tones.narrow_db`, in a band of ±1/80 octave: `[n, B]`."""
    n_fft = 1 << int(np.ceil(np.log2(FRAME_S * a.rate_hz)))
    low, high = (np.round(hz * 2 ** (side * _CORE) * n_fft / a.rate_hz).astype(int) for side in (-1, 1))
    rows = []
    for power in _levels(a.samples, n_fft, 2, 1e-5):
        weak = np.zeros((len(power), hz.size), np.float32)
        for k, (first, end) in enumerate(zip(low, high + 1, strict=True)):
            rank = int(_WEAKEST * (end - first - 1))
            weak[:, k] = np.partition(power[:, first:end], rank, axis=1)[:, rank]
        rows.append(_over_surroundings(10 * np.log10(weak)))
    return np.concatenate(rows)


def _short_db(a: Analysis, hz: Array) -> Array:
    """How far the mean power within ±1/60 octave lies above that of a third of an octave to either side (their median) in
    frames of 30 to 60 ms, in which a partial with vibrato is at one place: `[n, B]`."""
    n_fft = 1 << int(np.ceil(np.log2(_SHORT_S * a.rate_hz)))
    low, high = (np.round(hz * 2 ** (side * _SHORT_WIDTH) * n_fft / a.rate_hz).astype(int) for side in (-1, 1))
    high = np.maximum(high, low + 1) + 1
    rows = []
    for power in _levels(a.samples, n_fft, 2, 1e-4):
        total = np.cumsum(np.pad(power.astype(np.float64), ((0, 0), (1, 0))), axis=1)
        rows.append(_over_surroundings(10 * np.log10((total[:, high] - total[:, low]) / (high - low))))
    return np.concatenate(rows)


def _resonance(a: Analysis) -> tuple[float, float]:
    """Frequency in Hz of the narrow band that stands out most, and how far, less eight tenths of the next, dB; 0 where
    nothing stands out far enough to be looked at closely. It must stand out in four ways, the least of which counts, and a
    note does not in all: in four frames of five between the partials within ±1/30 octave (`Tones.narrow_db`) and within ±1/80;
    with its sides, by two and a half times the mean of five bands (of each 10 dB at most), where a line has none; and in
    three short frames of five, in which what wavers is somewhere else. Where in one of the five bands the middle stands out by
    more than 14 dB (26 in short frames) more than all of it, it is like a line, and that is taken off."""
    hz = a.tones.narrow_hz
    if not hz.size:
        return 0.0, 0.0
    all_of_it = np.quantile(a.tones.narrow_db, _SELDOM, axis=0)
    standing = np.minimum(all_of_it, _BROAD * uniform_filter1d(np.minimum(all_of_it, _MOST_DB), _BANDS, mode="nearest"))
    standing[hz < _LOWEST_HZ] = 0.0
    if standing.max() <= _STANDS_DB:
        return float(hz[standing.argmax()]), 0.0
    core, short = np.quantile(_core_db(a, hz), _SELDOM, axis=0), np.quantile(_short_db(a, hz), _SHORT_SELDOM, axis=0)
    like_a_line = np.maximum(np.maximum(core - all_of_it - _LINE_DB, short - all_of_it - _LINE_SHORT_DB), 0.0)
    standing = np.minimum(standing, np.minimum(core, short)) - maximum_filter1d(like_a_line, _BANDS, mode="nearest")
    at = int(standing.argmax())
    away = np.abs(np.log2(hz / hz[at])) >= _AWAY
    return float(hz[at]), float(standing[at] - _RIVAL * standing[away].max(initial=0.0))


def harsh(a: Analysis) -> Iterator[Defect]:
    """`harsh`: one narrow resonance between 1.4 and 10 kHz that stands out whatever is played (see `_resonance`; 4.3 dB is
    severity 0.1, 14 dB is 1; it is the weakest fifth of a fifteenth of an octave, so the peak itself is twice as high),
    or 2 to 5 kHz more than 8.5 dB above the line through the bands around them (15 dB is 1), and more than 5.5 dB between
    the partials too.

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
    ringing = 0.1 + 0.9 * (peak - _STANDS_DB) / (_WORST_DB - _STANDS_DB) if peak > _STANDS_DB else 0.0
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
