"""Attacks smeared into the time before them, as coarse transform coding and some decoders do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.fft import rfft
from scipy.ndimage import uniform_filter1d

from ..analysis import Analysis
from ..report import Defect
from ..samples import Array
from .found import MOST_SPANS, found

_FRAME_S = 0.001
_LOWEST_HZ = 750.0
_ATTACK_DB, _EVEN_DB = 4.0, 4.0
_RISE_DB, _CLEAR_RISE_DB = 4.5, 5.5
_NEAR = (3, 18)  # ms before the attack: where smearing is
_FAR, _FARTHER = (30, 50), (50, 70)  # and where it is not yet
_MOST_FALL_DB = 6.0
_OVERTAKEN = 30  # ms
_FEWEST, _SHARE, _CLEAR_SHARE = 4, 0.35, 0.3
_LEAST_DB = -45.0
_SPREAD = 20
_WINDOW_S = 0.015
_BANDS, _HIGHEST_HZ = 3, 16_000.0  # an octave, from `_LOWEST_HZ`
_FEWEST_BANDS = 3


@dataclass(frozen=True)
class _Rule:
    """What is taken for a smeared attack: how far the attack rises over what was 30 to 50 ms before it, how far below it the
    smear must lie at most, and how unlike in shape both may be; all dB."""

    over_all_db: float
    most_db: float
    unlike_db: float


_SURE = _Rule(over_all_db=19.0, most_db=-3.0, unlike_db=4.0)
_LIKELY = _Rule(over_all_db=14.0, most_db=-1.5, unlike_db=5.0)  # once it is sure that attacks are smeared


def _treble(x: Array, step: int) -> Array:
    """Mean square of the first difference, channels averaged, in frames of `step`."""
    count = (x.shape[1] - 1) // step
    d = np.diff(x[:, : count * step + 1], axis=1).reshape(x.shape[0], count, step)
    return np.einsum("cns,cns->n", d, d).astype(np.float64) / (x.shape[0] * step) + 1e-16


def _octaves(x: Array, step: int, count: int) -> Array:
    """Mean square of `[C, T]` in each of `count` octaves from half the rate downwards, channels averaged, in frames of `step`
    samples, `[count, N]`: differences and sums of neighbouring samples, again and again (Haar's transform), which is coarse
    in frequency and sharp in time."""
    frames = x.shape[1] // step - 1
    out = []
    for octave in range(1, count + 1):
        even = x.shape[1] // 2 * 2
        first, second = x[:, :even:2], x[:, 1:even:2]
        power = np.square(first - second).mean(axis=0) / 2
        edges = (np.arange(frames + 1) * step) >> octave
        out.append(np.add.reduceat(power, edges)[:-1] / np.diff(edges) + 1e-16)
        x = (first + second) * np.float32(np.sqrt(0.5))
    return np.stack(out)


def _means(p: Array, first: int, last: int) -> Array:
    """Mean of `p` over the frames k − last … k − first − 1, for every k."""
    sums = np.concatenate(([0.0], np.cumsum(p)))
    k = np.arange(p.size)
    return np.maximum((sums[np.maximum(k - first, 0)] - sums[np.maximum(k - last, 0)]) / (last - first), 1e-16)


def _attacks(p: Array, over_all_db: float) -> tuple[npt.NDArray[np.integer[Any]], Array]:
    """Attacks in the 1-ms powers `p`, as frame numbers, and the power of 4 ms from each frame on."""
    strong = uniform_filter1d(p, 4, origin=-2)  # of k … k + 3
    jump = 10 * np.log10(strong / _means(p, 1, 9))
    whole = 10 * np.log10(strong / _means(p, *_FAR))
    peak = np.maximum(np.roll(jump, 1), np.roll(jump, -1))
    attack = (jump > _ATTACK_DB) & (whole > over_all_db) & (jump >= peak) & (strong > 1e-3 * np.quantile(strong, 0.99))
    at = np.flatnonzero(attack)
    at = at[at >= _FARTHER[1]]
    # where smearing begins is a rise too; the attack is the stronger one shortly after it
    at = np.array([k for k in at if not np.any(strong[at[(at > k) & (at <= k + _OVERTAKEN)]] > 2 * strong[k])], dtype=int)
    return at[np.diff(at, prepend=-1_000) > 2 * _OVERTAKEN], strong


def _rise_db(p: Array, at: npt.NDArray[np.integer[Any]]) -> Array:
    """How far the 3–18 ms before each attack lie above what the 30–70 ms before it lead to expect, dB: a sound that falls
    there goes on falling (by 6 dB at most). 0 where they are uneven, as a rising sound is."""
    near, far, farther, late, early = (
        10 * np.log10(_means(p, *span)[at]) for span in (_NEAR, _FAR, _FARTHER, (11, 18), (3, 10))
    )
    return np.where(np.abs(late - early) < _EVEN_DB, near - far + np.clip(farther - far, 0.0, _MOST_FALL_DB), 0.0)


def _highest_db(octaves: Array, rise: Array, at: npt.NDArray[np.integer[Any]]) -> Array:
    """How far what rises before each attack, by octaves `[O, N]` and their rises there, lies over the attack's 20 ms, dB: the
    octave in which it does most; −∞ where nothing rises."""
    ends = np.minimum(at + _SPREAD, octaves.shape[1])
    sums = np.concatenate((np.zeros((len(octaves), 1)), np.cumsum(octaves, axis=1)), axis=1)
    attack = (sums[:, ends] - sums[:, at]) / (ends - at)
    level = 10 * np.log10(np.stack([_means(octave, *_NEAR)[at] for octave in octaves]) / attack)
    return np.asarray(np.where(rise > _RISE_DB, level, -np.inf).max(axis=0))


def _unlike_db(x: Array, rate_hz: int, step: int, attack: int) -> float:
    """How far the spectrum of what rises before an attack (a frame of `step` samples of `[C, T]`) differs from the attack's in
    shape: the standard deviation of their difference over the third octaves that rise, dB. What a coder spreads has the
    attack's spectrum; a burst before a vowel, a grace note or a breath has its own. Infinite where too few rise to tell."""
    size = int(_WINDOW_S * rate_hz)
    hz = np.fft.rfftfreq(size, 1 / rate_hz)
    top = min(_HIGHEST_HZ, 0.45 * rate_hz)
    edges = np.unique(np.searchsorted(hz, _LOWEST_HZ * 2 ** (np.arange(int(_BANDS * np.log2(top / _LOWEST_HZ)) + 1) / _BANDS)))
    window = np.hanning(size).astype(np.float32)
    starts = [(attack + away) * step for away in (-_FAR[1] + 2, -_NEAR[1], 0)]
    if starts[0] < 0 or starts[-1] + size > x.shape[1] or edges.size <= _FEWEST_BANDS:
        return np.inf
    power = np.square(np.abs(rfft(np.stack([x[:, s : s + size] for s in starts]) * window))).mean(axis=1)
    far, near, own = 10 * np.log10(np.add.reduceat(power, edges, axis=1)[:, :-1] + 1e-16)
    rises = near > far + _RISE_DB
    return float((near - own)[rises].std()) if rises.sum() >= _FEWEST_BANDS else np.inf


def smeared(x: Array, step: int, rule: _Rule = _SURE) -> tuple[npt.NDArray[np.integer[Any]], Array, Array]:
    """Attacks in `[C, T]` in frames of `step` samples (1 ms), for each the largest rise before it of the octaves above 0.75
    kHz (dB; 0 where what rises is not like the attack), and how far the treble there lies below the attack (dB); by `rule`.

    >>> level = np.repeat([0.001, 0.03, 1.0], (3_840, 960, 4_800))  # an attack at 0.1 s, and 20 ms of it, 30 dB down, before
    >>> at, rise, below = smeared(level * np.random.default_rng(0).standard_normal((1, 9_600)), 48)
    >>> at.tolist(), round(float(rise[0]), -1), round(float(below[0]), -1)  # from −60 to −30 dB
    ([100], 30.0, -30.0)
    """
    p = _treble(x, step)
    at, strong = _attacks(p, rule.over_all_db)
    octaves = _octaves(x, step, max(int(np.log2(1_000 * step / _LOWEST_HZ)) - 1, 1))
    at = at[at < octaves.shape[1]]
    rises = np.stack([_rise_db(octave, at) for octave in octaves])
    rise = np.where(_highest_db(octaves, rises, at) < rule.most_db, rises.max(axis=0), 0.0)
    for k in np.flatnonzero(rise > _RISE_DB):
        if _unlike_db(x, 1_000 * step, step, int(at[k])) > rule.unlike_db:
            rise[k] = 0.0
    return at, rise, 10 * np.log10(_means(p, *_NEAR)[at] / strong[at])


def pre_echo(a: Analysis) -> Iterator[Defect]:
    """`pre_echo`: before at least 35 % of the attacks, and four, one of the octaves above 0.75 kHz lies on a step 4.5 dB and
    more above what came before leads to expect, even, and not over 45 dB below the attack; or before 30 % of them on
    one of 5.5 dB; and what rises there has the attack's spectrum (within 4 dB, by third octaves) and lies below it. Only a
    coder does this to attack after attack; where one does, attacks that stand out by less are told as well. Severity by the
    step's level against the attack: −45 dB is 0.05, −10 dB is 1.

    >>> one = np.repeat([0.001, 0.03, 1.0], (9_600, 960, 1_440))  # smeared from 0.2 s on, the attack at 0.22 s, 30 dB above
    >>> x = np.tile(one, 6) * np.random.default_rng(0).standard_normal((1, 72_000))
    >>> [(d.type, d.start_s, d.end_s, round(d.severity, 1)) for d in pre_echo(Analysis(x, 48_000))][:2]  # 0.05 + 0.95·15/35
    [('pre_echo', 0.2, 0.22, 0.5), ('pre_echo', 0.45, 0.47, 0.5)]
    """
    step = int(_FRAME_S * a.rate_hz)
    if a.rate_hz < 8_000 or a.silent or a.samples.shape[1] < 200 * step:
        return
    at, rise, below = smeared(a.samples, step)
    bad, clear = ((rise > least) & (below > _LEAST_DB) for least in (_RISE_DB, _CLEAR_RISE_DB))
    if bad.sum() < max(_FEWEST, _SHARE * at.size) and clear.sum() < max(_FEWEST, _CLEAR_SHARE * at.size):
        return
    attacks = int(at.size)
    at, rise, below = smeared(a.samples, step, _LIKELY)
    bad = (rise > _RISE_DB) & (below > _LEAST_DB)
    for k, up, level in list(zip(at[bad], rise[bad], below[bad], strict=True))[:MOST_SPANS]:
        severity = 0.05 + 0.95 * (level - _LEAST_DB) / (_LEAST_DB * -1 - 10.0)
        yield found("pre_echo", severity, (int(k - 20) * step, int(k) * step), a, rise_db=round(float(up), 1),
                    below_attack_db=round(float(level), 1), attacks=attacks)  # fmt: skip
