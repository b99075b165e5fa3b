"""Every metric a report can hold: its unit, which way is better, and what it says. Facts only; nothing is
computed here.

`higher_is_better` is None where neither way is: there is a good band (see `profiles`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .report import Metric


@dataclass(frozen=True)
class MetricFacts:
    """Unit, direction and meaning of one metric; `needs_reference` when it compares with the sound it should be,
    `needs` names what else must be asked for (`reference_clips`, or an adapter)."""

    unit: str
    higher_is_better: bool | None
    about: str
    needs_reference: bool = False
    needs: str = ""

    @property
    def always(self) -> bool:
        """Whether every report holds it."""
        return not self.needs_reference and not self.needs


_FACTS = {
    "integrated_lufs": MetricFacts("LUFS", None, "integrated loudness, BS.1770-4"),
    "momentary_max_lufs": MetricFacts("LUFS", None, "loudest 0.4 s"),
    "short_term_max_lufs": MetricFacts("LUFS", None, "loudest 3 s"),
    "loudness_range_lu": MetricFacts("LU", None, "loudness range, EBU Tech 3342"),
    "sample_peak_dbfs": MetricFacts("dBFS", None, "largest sample"),
    "true_peak_dbtp": MetricFacts("dBTP", None, "largest value between samples too, BS.1770-4 Annex 2"),
    "crest_db": MetricFacts("dB", None, "peak over RMS"),
    "bass_db": MetricFacts("dB", None, "power in 20–250 Hz over all"),
    "mid_db": MetricFacts("dB", None, "power in 250–4000 Hz over all"),
    "treble_db": MetricFacts("dB", None, "power in 4–20 kHz over all"),
    "centroid_hz": MetricFacts("Hz", None, "centre of gravity of the spectrum"),
    "flatness": MetricFacts("", None, "0 one tone … 1 white noise"),
    "rolloff_hz": MetricFacts("Hz", None, "0.985 of the magnitude lies below"),
    "bandwidth_hz": MetricFacts("Hz", True, "where the band ends in a cliff; half the rate if it does not"),
    "noise_floor_db": MetricFacts("dB", False, "steady broadband part in 1.5–12 kHz over all (an estimate)"),
    "steadiness_db": MetricFacts("dB", False, "steady noise over all, bin by bin in 1.5–12 kHz; 0 is only noise"),
    "stereo_correlation": MetricFacts("", None, "of left and right; < −0.7 severe, −0.7 … −0.3 mild"),
    "stereo_width": MetricFacts("", None, "side over mid"),
    "mono_loss_db": MetricFacts("dB", False, "power lost in mono; > 3 warns, > 6 fails"),
    "dc_offset": MetricFacts("FS", None, "mean of the samples"),
    "silence_fraction": MetricFacts("", False, "share of the time in silences of 0.1 s or more"),
    "clipped_fraction": MetricFacts("", False, "share of samples that lie in flat tops"),
    "thd_percent": MetricFacts("%", False, "harmonic distortion of a near-pure tone"),
    "lsd": MetricFacts("log10 power", False, "log-spectral distance to the reference, level-matched", True),
    "lsd_high": MetricFacts("log10 power", False, "the same at 4 kHz and above only", True),
    "multi_resolution_stft": MetricFacts("", False, "STFT distance to the reference, three window sizes, level-matched", True),
    "si_sdr_db": MetricFacts("dB", True, "scale-invariant signal-to-distortion ratio to the reference", True),
    "envelope_correlation": MetricFacts("", True, "dynamics as in the reference, −1 … 1", True),
    "chroma_similarity": MetricFacts("", True, "melody and harmony as in the reference, −1 … 1", True),
    "onset_correlation": MetricFacts("", True, "notes begin when and as strongly as in the reference, −1 … 1", True),
    "onset_f_measure": MetricFacts("", True, "onsets within 70 ms of the reference's, 0 … 1", True),
    "reference_distance": MetricFacts("bel²", False, "Fréchet distance of features to the clips", needs="reference_clips"),
    "clap_similarity": MetricFacts("", True, "CLAP: agreement with the caption, −1 … 1", needs="clap"),
    "fad_clap": MetricFacts("", False, "Fréchet distance of CLAP embeddings to the reference clips", needs="fad"),
    "squim_stoi": MetricFacts("", True, "SQUIM: intelligibility of speech, 0 … 1", needs="squim"),
    "squim_pesq": MetricFacts("MOS", True, "SQUIM: PESQ of speech", needs="squim"),
    "squim_si_sdr_db": MetricFacts("dB", True, "SQUIM: SI-SDR of speech", needs="squim"),
    "audiobox_ce": MetricFacts("", True, "audiobox-aesthetics: content enjoyment, 1 … 10", needs="audiobox"),
    "audiobox_cu": MetricFacts("", True, "audiobox-aesthetics: content usefulness, 1 … 10", needs="audiobox"),
    "audiobox_pc": MetricFacts("", None, "audiobox-aesthetics: production complexity, 1 … 10", needs="audiobox"),
    "audiobox_pq": MetricFacts("", True, "audiobox-aesthetics: production quality, 1 … 10", needs="audiobox"),
    "dnsmos_overall": MetricFacts("MOS", True, "DNSMOS P.835: speech, overall", needs="dnsmos"),
    "dnsmos_signal": MetricFacts("MOS", True, "DNSMOS P.835: speech signal", needs="dnsmos"),
    "dnsmos_background": MetricFacts("MOS", True, "DNSMOS P.835: background", needs="dnsmos"),
    "dnsmos_p808": MetricFacts("MOS", True, "DNSMOS P.808: speech", needs="dnsmos"),
}

METRICS: Mapping[str, MetricFacts] = MappingProxyType(_FACTS)


def metric(name: str, value: float | None) -> Metric:
    """`value` with the unit and direction of metric `name`. Raises KeyError for a name that is not in
    `METRICS`.

    >>> m = metric("mono_loss_db", 3.01)
    >>> m.value, m.unit, m.higher_is_better
    (3.01, 'dB', False)
    """
    facts = METRICS[name]
    return Metric(value=value, unit=facts.unit, higher_is_better=facts.higher_is_better)
