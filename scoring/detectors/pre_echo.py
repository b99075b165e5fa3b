"""Attacks smeared into the time before them, as coarse transform coding and some decoders do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft
from scipy.ndimage import maximum_filter1d, uniform_filter1d

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from .found import MOST_SPANS, found

Frames = npt.NDArray[np.int64]

_FRAME_S = 0.001
_ATTACK_DB, _OVER_DB, _STRONG_DB = 4.0, 14.0, 18.0
_NEAR, _LATE, _EARLY = (3, 18), (3, 10), (11, 18)  # ms before the attack: where smearing is
_JUST_BEFORE, _FAR, _FARTHEST = (23, 31), (30, 50), 70  # and where it is not yet
_OVERTAKEN = 30  # ms
_PLACES = np.arange(-16, 26, 2)  # ms from the steepest rise: where an attack may begin, and smearing end
_PEAK = 12  # ms of an attack
_ENOUGH = ((True, 4, 1 / 6), (True, 3, 1 / 4), (False, 4, 0.3))  # of the strong attacks or of all, how many, what share
_LEAST_DB, _WORST_DB = -45.0, -10.0
_MOST_RISE_DB = 60.0  # what begins out of digital silence, as the words of a speech synthesiser do, is no smear
_SPREAD = 20  # ms
_WINDOW_S = 0.015
_LOWEST_HZ, _HIGHEST_HZ, _BANDS = 500.0, 16_000.0, 3  # an octave
_RISE_DB = 4.5
_ONE_BIN_DB2 = (10 / np.log(10)) ** 2  # variance of the level of noise as one line of a spectrum has it, to first order
_OWN_DB2 = 1.0  # that of an attack's own spectrum from one moment to the next
_CHUNK = 256


@dataclass(frozen=True)
class _Rule:
    """What is taken for a smeared attack. Of the treble: how far the two halves of the smear may differ, how far the attack must
    stand above it and it above what was just before; of third octaves: how many must rise, how far below the attack, and
    how unlike it in shape they may be. All but the count in dB."""

    even_db: float
    lead_db: float
    step_db: float
    bands: int
    level_db: float
    unlike_db: float


_LIKELY = _Rule(even_db=3.0, lead_db=5.0, step_db=2.0, bands=3, level_db=-3.0, unlike_db=5.0)
_SURE = _Rule(even_db=1.6, lead_db=6.0, step_db=4.0, bands=4, level_db=-5.0, unlike_db=2.75)
_SURE_LOUD = _Rule(even_db=1.6, lead_db=9.0, step_db=7.0, bands=8, level_db=-3.0, unlike_db=2.0)  # nearly as loud as the attack
_SURE_STEEP = _Rule(even_db=1.6, lead_db=6.0, step_db=15.0, bands=5, level_db=-3.0, unlike_db=1.5)  # and out of the quiet
_SURES = (_SURE, _SURE_LOUD, _SURE_STEEP)


@dataclass(frozen=True, eq=False)
class Smears:
    """What lies before the attacks of a sound, `[N]` each: the frame (1 ms) at which the attack begins, how far it rises over
    what was 30 to 50 ms before (dB), and what `_Rule` names, with `bands` 0 where nothing looks like a smear; `rise_db`: how far
    the third octaves that rise lie above what was 30 to 50 ms before."""

    at: Frames
    over_db: Array
    even_db: Array
    lead_db: Array
    step_db: Array
    bands: Array
    level_db: Array
    unlike_db: Array
    rise_db: Array

    def follow(self, rule: _Rule) -> npt.NDArray[np.bool_]:
        """Which attacks are smeared by `rule`, not so faintly that nobody hears it, and not out of digital silence."""
        treble = (self.even_db < rule.even_db) & (self.lead_db > rule.lead_db) & (self.step_db > rule.step_db)
        spectrum = (self.bands >= rule.bands) & (self.level_db < rule.level_db) & (self.unlike_db < rule.unlike_db)
        return np.asarray(treble & spectrum & (self.level_db > _LEAST_DB) & (self.rise_db < _MOST_RISE_DB))


def _treble(x: Array, step: int) -> Array:
    """Mean square of the first difference, channels averaged, in frames of `step`."""
    count = (x.shape[1] - 1) // step
    d = np.diff(x[:, : count * step + 1], axis=1).reshape(x.shape[0], count, step)
    return np.einsum("cns,cns->n", d, d).astype(np.float64) / (x.shape[0] * step) + 1e-16


class _Before:
    """Levels in dB of what was before given frames, of powers in frames."""

    def __init__(self, p: Array) -> None:
        self._sums = np.concatenate(([0.0], np.cumsum(p)))

    def __call__(self, k: Frames, span: tuple[int, int]) -> Array:
        """Mean over the frames k − last … k − first − 1 of `span` (first, last)."""
        first, last = span
        end = self._sums.size - 1  # a place after an attack may lie beyond the sound
        mean = (self._sums[np.clip(k - first, 0, end)] - self._sums[np.clip(k - last, 0, end)]) / (last - first)
        return np.asarray(10 * np.log10(np.maximum(mean, 1e-16)))


def _attacks(p: Array, before: _Before) -> tuple[Frames, Array]:
    """Attacks in the 1-ms powers `p` as the frames in which they rise most, and the level of 4 ms from
    each frame of `p` on."""
    strong = np.maximum(uniform_filter1d(p, 4, origin=-2), 1e-16)  # of k … k + 3; a running sum may end just below 0
    level, k = 10 * np.log10(strong), np.arange(p.size)
    jump, over = level - before(k, (1, 9)), level - before(k, _FAR)
    peak = np.maximum(np.roll(jump, 1), np.roll(jump, -1))
    attack = (jump > _ATTACK_DB) & (over > _OVER_DB) & (jump >= peak) & (strong > 1e-3 * np.quantile(strong, 0.99))
    at = np.flatnonzero(attack)
    at = at[at >= _FARTHEST]
    # where smearing begins is a rise too; the attack is the stronger one shortly after it
    at = np.array([k for k in at if not np.any(strong[at[(at > k) & (at <= k + _OVERTAKEN)]] > 2 * strong[k])], dtype=np.int64)
    at = at[np.diff(at, prepend=-1_000) > 2 * _OVERTAKEN]
    return at, level


def _third_octaves(rate_hz: int) -> tuple[int, Frames]:
    """Samples of a spectrum of 15 ms, and the lines at which its third octaves begin and the last ends."""
    size = int(_WINDOW_S * rate_hz)
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    count = int(_BANDS * np.log2(min(_HIGHEST_HZ, 0.45 * rate_hz) / _LOWEST_HZ))
    return size, np.unique(np.searchsorted(hz, _LOWEST_HZ * 2 ** (np.arange(count + 1) / _BANDS)))


def _spectra(x: Array, step: int, places: Frames) -> tuple[Array, Array, Array, Array]:
    """Of the third octaves above 0.5 kHz that rise before each of `places` (frames of `step` samples of `[C, T]`): how many there
    are; how far what rises lies below what begins at the place, and how far the two differ in shape (standard deviation,
    dB); and how far it rises. What a coder spreads has the attack's spectrum; a burst before a vowel, a grace note or a breath
    has its own. Bands count by how surely 15 ms of noise tell their level."""
    size, edges = _third_octaves(1_000 * step)
    window = np.hanning(size).astype(np.float32)
    starts = np.stack([places - _FAR[1] + 2, places - _NEAR[1], places])[..., None] * step + np.arange(size)
    power = np.square(np.abs(rfft(x[:, starts] * window))).mean(axis=0)
    far, near, own = np.add.reduceat(power, edges, axis=-1)[..., :-1] + 1e-16
    rise = 10 * np.log10(near / far)
    below = 10 * np.log10(np.maximum(near - far, 0.1 * near) / own)
    weight = (rise > _RISE_DB) / (_OWN_DB2 + _ONE_BIN_DB2 / (np.diff(edges) * x.shape[0]))
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1e-9)
    level = (weight * below).sum(axis=1)
    unlike = np.sqrt((weight * np.square(below - level[:, None])).sum(axis=1))
    return (rise > _RISE_DB).sum(axis=1), level, unlike, (weight * rise).sum(axis=1)


def smears(x: Array, step: int) -> Smears:
    """What lies before each attack in `[C, T]`, in frames of `step` samples (1 ms). An attack may take a while to rise: of the
    places at which it may begin, the one before which there is most likely a smear.

    >>> level = np.repeat([0.001, 0.03, 1.0], (4_800, 960, 4_800))  # an attack at 0.12 s, and 20 ms of it, 30 dB down, before
    >>> s = smears(level * np.random.default_rng(0).standard_normal((1, 10_560)), 48)
    >>> np.round(s.at, -1).tolist(), round(float(s.rise_db[0]), -1), round(float(s.level_db[0]), -1)  # from −60 to −30 dB
    ([120], 30.0, -30.0)
    """
    p = _treble(x, step)
    before = _Before(p)
    at, level = _attacks(p, before)
    places = at[:, None] + _PLACES
    near = before(places, _NEAR)
    peak = maximum_filter1d(level, _PEAK, origin=-(_PEAK // 2))  # of k … k + 11
    treble = np.stack([
        np.abs(before(places, _LATE) - before(places, _EARLY)), peak[np.minimum(places, p.size - 1)] - near,
        near - before(places, _JUST_BEFORE),
    ])  # fmt: skip
    within = (places >= _FARTHEST - 16) & (places * step + int(_WINDOW_S * 1_000 * step) <= x.shape[1])
    likely = (treble[0] < _LIKELY.even_db) & (treble[1] > _LIKELY.lead_db) & (treble[2] > _LIKELY.step_db)
    chosen = np.flatnonzero(within & likely)
    spectral = np.zeros((4, places.size))
    for part in (chosen[k : k + _CHUNK] for k in range(0, chosen.size, _CHUNK)):
        spectral[:, part] = _spectra(x, step, places.ravel()[part])
    over = treble[1] + near - before(places, _FAR)
    all_of = Smears(places.ravel(), over.ravel(), *treble.reshape(3, -1), *spectral)
    doubt = 0.3 * treble[0] - 0.05 * (level[np.minimum(places, p.size - 1)] - near)  # that it begins here, and not later
    cost = np.where(all_of.follow(_LIKELY), all_of.unlike_db + doubt.ravel(), np.inf).reshape(places.shape)
    cost[:, _PLACES == 0] = np.minimum(cost[:, _PLACES == 0], 1e9)
    best = np.arange(at.size) * _PLACES.size + cost.argmin(axis=1)
    return Smears(*(getattr(all_of, name)[best] for name in all_of.__dataclass_fields__))


def _enough(smeared: npt.NDArray[np.bool_], fewest: int, share: float) -> bool:
    return int(smeared.sum()) >= max(fewest, share * smeared.size)


def pre_echo(a: Analysis) -> Iterator[Defect]:
    """`pre_echo`: before at least a sixth of the strong attacks (that rise by 18 dB and more) and four of them, a quarter and
    three, or 30 % of all and four, the 20 ms lie on a step: even, with the attack's spectrum (within 2.75 dB, by third octaves)
    and at least 5 (3 where the step is steep and the spectrum within 2 dB), at most 45 dB below it, and no more than 60 dB
    above what was before. Only a coder does this to attack after attack; where one does, attacks before which it shows less
    are told as well. Severity, one for all, by the median of the steps' levels against their attacks: −45 dB is 0.05, −10 dB
    is 1.

    >>> one = np.repeat([0.001, 0.03, 1.0], (9_600, 960, 1_440))  # smeared from 0.2 s on, the attack at 0.22 s, 30 dB above
    >>> x = np.tile(one, 6) * np.random.default_rng(0).standard_normal((1, 72_000))
    >>> defects = list(pre_echo(Analysis(x, 48_000)))
    >>> [(d.type, round(d.start_s, 2), round(d.end_s, 2), round(d.severity, 1)) for d in defects[:2]]  # 0.05 + 0.95·15/35
    [('pre_echo', 0.2, 0.22, 0.5), ('pre_echo', 0.45, 0.47, 0.5)]
    """
    step = int(_FRAME_S * a.rate_hz)
    if a.rate_hz < 8_000 or a.silent or a.samples.shape[1] < 200 * step:
        return
    s = smears(a.samples, step)
    sure, strong = np.any([s.follow(rule) for rule in _SURES], axis=0), s.over_db > _STRONG_DB
    if not any(_enough(sure[strong] if of_strong else sure, fewest, share) for of_strong, fewest, share in _ENOUGH):
        return
    smeared = np.flatnonzero(s.follow(_LIKELY))
    severity = 0.05 + 0.95 * (float(np.median(s.level_db[smeared])) - _LEAST_DB) / (_WORST_DB - _LEAST_DB)
    for k in smeared[:MOST_SPANS]:
        yield found("pre_echo", severity, (int(s.at[k] - _SPREAD) * step, int(s.at[k]) * step), a,
                    rise_db=round(float(s.rise_db[k]), 1), below_attack_db=round(float(s.level_db[k]), 1),
                    attacks=int(s.at.size))  # fmt: skip
