"""What the evaluation hears: tempo, key, and which tracks play.

Three linear readers over plain features, fitted on clips of training seeds (as they are and through the autoencoder, as
all that the model makes has passed its decoder) and judged, like everything else, on unseen
ones: what they hear in real clips stands beside every figure as its ceiling. Key and tempo readers are equivariant: the
same weights are tried at all 12 transpositions and at all tempos, so they can't learn which are frequent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np
import torch

from ..corpus.theory import MAJOR_NAMES, MINOR_NAMES
from ..vocabulary import TRACKS

KEYS = tuple(f"{name} major" for name in MAJOR_NAMES) + tuple(f"{name} minor" for name in MINOR_NAMES)
# Tempos that can be heard, a per cent apart, and where in the autocorrelation of onsets each one is looked for (beats).
TEMPOS = np.exp(np.arange(np.log(56.0), np.log(186.0), 0.01))
BEATS = (0.25, 1 / 3, 0.5, 2 / 3, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
_HOP, _LONGEST_S = 256, 4.4
# Hearing what is not there and missing what is count alike.
_BALANCED = 0.5


@dataclass(frozen=True)
class Heard:
    """Features of one clip: key ``[8, 12]`` (pitch classes from C), tempo ``[tempos, features]``, tracks ``[F]``."""

    key: np.ndarray
    tempo: np.ndarray
    tracks: np.ndarray


def features(samples: np.ndarray, rate_hz: int) -> Heard:
    """Features of stereo samples ``[2, T]``; level does not matter."""
    mono = samples.mean(0)
    mono = mono / (np.sqrt(np.mean(mono**2)) + 1e-9)
    return Heard(_key_features(mono, rate_hz), _tempo_features(mono, rate_hz), _track_features(samples, rate_hz))


def _key_features(mono: np.ndarray, rate_hz: int) -> np.ndarray:
    bins = np.abs(librosa.cqt(mono, sr=rate_hz, hop_length=1024, fmin=32.703, n_bins=84))
    bins /= bins.max() + 1e-9
    rows = []
    for compressed in (bins, np.sqrt(bins)):
        octaves = compressed.mean(1).reshape(7, 12)
        rows += [octaves[0:2].sum(0), octaves[2:4].sum(0), octaves[4:].sum(0)]
    for part, near in ((bins[24:], 0.5), (bins[:36], 0.7)):
        classes = part.reshape(-1, 12, part.shape[1]).sum(0)
        rows.append((classes > near * classes.max(0)).mean(1))
    found = np.stack(rows)
    return (found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-6)).astype(np.float32)


def _tempo_features(mono: np.ndarray, rate_hz: int) -> np.ndarray:
    mel = librosa.feature.melspectrogram(y=mono, sr=rate_hz, n_fft=1024, hop_length=_HOP, n_mels=48)
    rises = np.maximum(np.diff(np.log(mel + 1e-4), axis=1), 0.0)
    columns = []
    for band in (slice(0, 48), slice(0, 10), slice(28, 48)):
        onsets = rises[band].mean(0)
        onsets = onsets - onsets.mean()
        longest = min(len(onsets) - 1, int(_LONGEST_S * rate_hz / _HOP))
        size = 1 << (2 * len(onsets)).bit_length()
        spectrum = np.fft.rfft(onsets, size)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: longest + 1]
        correlation /= correlation[0] + 1e-9
        lags = 60.0 / TEMPOS[:, None] * np.array(BEATS) * rate_hz / _HOP
        columns.append(np.interp(lags, np.arange(longest + 1), correlation, right=0.0))
    return np.concatenate(columns, axis=1).astype(np.float32)


def _track_features(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    rows = []
    for signal in (samples.mean(0), (samples[0] - samples[1]) / 2):
        signal = signal / (np.sqrt(np.mean(samples**2)) + 1e-9)
        mel = np.log(librosa.feature.melspectrogram(y=signal, sr=rate_hz, n_fft=2048, hop_length=512, n_mels=48) + 1e-3)
        moved = np.diff(mel, axis=1)
        rows += [mel.mean(1), mel.std(1), moved.std(1), np.maximum(moved, 0).mean(1), np.quantile(mel, 0.1, axis=1),
                 np.quantile(mel, 0.95, axis=1)]  # fmt: skip
    return np.concatenate(rows).astype(np.float32)


class Listeners:
    """The three readers. ``fit`` once, then ask; asking takes features of one clip."""

    def __init__(self, heard: Sequence[Heard], facts: Sequence[dict[str, Any]]) -> None:
        self.used = torch.stack([present(fact["instruments"]) for fact in facts]).amax(0)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            self._fit_key(heard, facts)
            self._fit_tempo(heard, facts)
            self._fit_tracks(heard, facts)

    def key(self, heard: Heard) -> str:
        """The key, as "C major"."""
        return KEYS[int(self._key_scores(torch.from_numpy(heard.key)[None]).argmax())]

    def bpm(self, heard: Heard) -> float:
        """The tempo in beats per minute; may be an octave off."""
        return float(TEMPOS[int((torch.from_numpy(heard.tempo) @ self._tempo).argmax())])

    def tracks(self, heard: Heard) -> torch.Tensor:
        """Which of ``TRACKS`` play, 0 or 1 ``[12]``."""
        with torch.no_grad():
            scores = self._tracks((torch.from_numpy(heard.tracks) - self._mean) / self._std)
        return (scores > self._thresholds).float()

    def _key_scores(self, inputs: torch.Tensor) -> torch.Tensor:
        turned = torch.stack([torch.roll(inputs, -tonic, 2) for tonic in range(12)], 1)
        return torch.cat([torch.einsum("nkfc,fc->nk", turned, self._key[mode]) + self._bias[mode] for mode in (0, 1)], 1)

    def _fit_key(self, heard: Sequence[Heard], facts: Sequence[dict[str, Any]]) -> None:
        inputs = torch.from_numpy(np.stack([one.key for one in heard]))
        wanted = torch.tensor([KEYS.index(fact["keyscale"]) for fact in facts])
        self._key = torch.zeros(2, inputs.shape[1], 12, requires_grad=True)
        self._bias = torch.zeros(2, requires_grad=True)
        _descend([self._key, self._bias], lambda: torch.nn.functional.cross_entropy(self._key_scores(inputs), wanted), 0.05)
        self._key, self._bias = self._key.detach(), self._bias.detach()

    def _fit_tempo(self, heard: Sequence[Heard], facts: Sequence[dict[str, Any]]) -> None:
        inputs = torch.from_numpy(np.stack([one.tempo for one in heard]))
        right = torch.tensor(np.array([[same_tempo(tempo, fact["bpm"], 0.015) for tempo in TEMPOS] for fact in facts]))
        self._tempo = torch.zeros(inputs.shape[2], requires_grad=True)

        def loss() -> torch.Tensor:
            scores = 8 * (inputs @ self._tempo)
            return (torch.logsumexp(scores, 1) - torch.logsumexp(scores.masked_fill(~right, -1e9), 1)).mean()

        _descend([self._tempo], loss, 0.01)
        self._tempo = self._tempo.detach()

    def _fit_tracks(self, heard: Sequence[Heard], facts: Sequence[dict[str, Any]]) -> None:
        inputs = torch.from_numpy(np.stack([one.tracks for one in heard]))
        wanted = torch.stack([present(fact["instruments"]) for fact in facts])
        self._mean, self._std = inputs.mean(0), inputs.std(0) + 1e-3
        inputs = (inputs - self._mean) / self._std
        self._tracks = torch.nn.Sequential(
            torch.nn.Dropout(0.3), torch.nn.Linear(inputs.shape[1], 64), torch.nn.SiLU(), torch.nn.Dropout(0.3),
            torch.nn.Linear(64, len(TRACKS)),
        )  # fmt: skip
        _descend(list(self._tracks.parameters()),
                 lambda: torch.nn.functional.binary_cross_entropy_with_logits(self._tracks(inputs), wanted), 0.003, 0.1)
        self._tracks.eval()
        with torch.no_grad():
            scores = self._tracks(inputs)
        # where hits and correct rejections are equally frequent, so that agreement is balanced
        self._thresholds = torch.tensor([_balance(scores[:, k], wanted[:, k]) for k in range(len(TRACKS))])


def _descend(parameters: list[torch.Tensor], loss: Any, rate: float, decay: float = 0.02, steps: int = 500) -> None:
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    for _ in range(steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()


def _balance(scores: torch.Tensor, wanted: torch.Tensor) -> float:
    if not 0 < wanted.sum() < len(wanted):
        return 0.0
    candidates = torch.quantile(scores, torch.linspace(0.02, 0.98, 97))
    hits = torch.stack([(scores[wanted > 0] > at).float().mean() for at in candidates])
    rejections = torch.stack([(scores[wanted == 0] <= at).float().mean() for at in candidates])
    return float(candidates[(hits - rejections).abs().argmin()])


def same_tempo(heard: float, wanted: float, tolerance: float = 0.03) -> bool:
    """Octave-tolerant: half and double tempo count, within ``tolerance``."""
    return any(abs(heard * factor / wanted - 1) <= tolerance for factor in (0.5, 1.0, 2.0))


def present(tracks: Any) -> torch.Tensor:
    """Names of tracks as 0 or 1, ``[12]``."""
    return torch.tensor([float(track in tracks) for track in TRACKS])


def agreement(heard: torch.Tensor, wanted: torch.Tensor, used: torch.Tensor) -> float:
    """Balanced: mean of the share of wanted tracks that are heard and of unwanted (``used``) that are not; chance 0.5."""
    there, absent = wanted > 0, (wanted == 0) & (used > 0)
    return float(_BALANCED * heard[there].mean() + (1 - _BALANCED) * (1 - heard[absent]).mean())
