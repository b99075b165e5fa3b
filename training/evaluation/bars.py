"""The bars the embedded model is held to, as rows: what, figure, bar, met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Row = dict[str, Any]

# A dozen clips can't tell a smaller difference in chroma similarity from none.
CHANCE_TOLERANCE = 0.1


def rows(report: dict[str, Any]) -> list[Row]:
    """Every bar whose figures are in the report."""
    found: list[Row] = []
    for group, make in _GROUPS.items():
        if group in report:
            found += make(report[group])
    return found


def _row(what: str, figure: float | bool | None, bar: str, met: bool, beside: str = "") -> Row:
    shown: Any = figure if figure is None or isinstance(figure, bool) else round(float(figure), 3)
    return {"what": what, "figure": shown, "bar": bar, "met": bool(met), "beside": beside}


def _at_least(what: str, figure: float | None, bar: float, beside: str = "") -> Row:
    """A figure that could not be measured (None) meets no bar."""
    return _row(what, figure, f"≥ {bar:g}", figure is not None and figure >= bar, beside)


def _at_most(what: str, figure: float | None, bar: float, beside: str = "") -> Row:
    return _row(what, figure, f"≤ {bar:g}", figure is not None and figure <= bar, beside)


def _autoencoder(r: dict[str, Any]) -> list[Row]:
    beside = {part: f"under other hiss {r[f'{part}_other_hiss_lsd_db']:.1f}" for part in ("mix", "drums")
              if r.get(f"{part}_other_hiss_lsd_db") is not None}  # fmt: skip
    return [
        _at_least("autoencoder: SI-SDR of mixes, dB", r["mix_si_sdr_db"], 13.0),
        _at_most("autoencoder: LSD of mixes, dB", r["mix_lsd_db"], 6.5, beside.get("mix", "")),
        _at_most("autoencoder: LSD of drum stems, dB", r["drums_lsd_db"], 6.0, beside.get("drums", "")),
    ]


def _captions(r: dict[str, Any]) -> list[Row]:
    found = []
    for name, bar in (("bpm", 0.60), ("instruments", 0.75), ("key", 0.40)):
        base = r["base"]
        beside = f"chance {base['other_' + name]:.2f}, reconstruction {r['reconstruction'][name]:.2f}, real {r['real'][name]:.2f}"
        found.append(_at_least(f"caption: {name} as asked, base", base[name], bar, beside))
        found.append(_at_least(f"turbo/base: {name}", r["turbo"][name] / max(base[name], 1e-9), 0.85, f"{r['turbo'][name]:.2f}"))
    return found


def _extract(r: dict[str, Any]) -> list[Row]:
    """What ``extract`` makes, used as it is meant to be: with ``wiener``, which cuts it out of the mix."""
    cut, made, alone = r["together"], r["made"], r["alone"]
    return [
        _at_least("extract and wiener: SI-SDR over the mix's, dB", cut["si_sdr_gain_db"], 5.0,
                  f"by that stem alone {alone['si_sdr_gain_db']:.1f}, extract itself {made['si_sdr_gain_db']:.1f} "
                  f"(median {made['si_sdr_gain_median_db']:.1f}), ceiling {r['ceiling']['si_sdr_gain_db']:.1f}"),
        _at_least("extract and wiener: LSD below the mix's, share of stems", cut["lsd_below_mix"], 0.80,
                  f"by that stem alone {alone['lsd_below_mix']:.2f}, extract itself {made['lsd_below_mix']:.2f}"),
    ]  # fmt: skip


def _added(r: dict[str, Any]) -> list[Row]:
    return [
        _at_least(f"{name}: asked instruments present", r[name]["present"], 0.75,
                  f"left out {r[name]['absent']:.2f}, real {r[name]['real']:.2f}")
        for name in ("lego", "complete")
    ]  # fmt: skip


def _restoring(r: dict[str, Any]) -> list[Row]:
    found = []
    for name, given in (("restored", "degraded"), ("refined", "restored")):
        found.append(_at_most(f"{name}: high-band LSD against the degraded", r[f"{name}_high_lsd_change"], -0.20,
                              f"{r['degraded_high_lsd_db']:.1f} → {r[f'{name}_high_lsd_db']:.1f} dB"))  # fmt: skip
        found.append(_at_least(f"{name}: score no lower than its input's ({given})", r[f"{name}_score"], r[f"{given}_score"]))
        found.append(_at_least(f"{name}: low band SI-SDR against the degraded, dB", r[f"{name}_low_si_sdr_db"], 20.0))
    return found


def _refine(r: dict[str, Any]) -> list[Row]:
    return [_row(f"refine ({v}): distance rises with denoise", r[v]["monotone_in_the_mean"], "yes", r[v]["monotone_in_the_mean"],
                 f"{r[v]['monotone_clips']:.2f} of clips") for v in r]  # fmt: skip


def _repaint(r: dict[str, Any]) -> list[Row]:
    found = []
    for variant in r:
        found.append(_at_least(f"repaint ({variant}): kept region, dB", r[variant]["kept_si_sdr_db"], 10.0))
        beside = f"the source itself: {r[variant]['seam_flux_of_source']:.2f} of its reconstruction"
        found.append(_at_most(f"repaint ({variant}): flux at the seams", r[variant]["seam_flux_ratio"], 1.3, beside))
    base, turbo = r["base"]["kept_si_sdr_db"], r["turbo"]["kept_si_sdr_db"]
    found.append(_at_least("turbo/base: kept region of a repaint, dB", turbo - base, -1.5))
    return found


def _cover(r: dict[str, Any]) -> list[Row]:
    found = []
    for variant in r:
        s, f = r[variant]["strengths"], r[variant]["following"]
        low, high = f["1.0"], f["0.0"]
        parts = ", ".join(f"{name} {low[name]:.2f} → {high[name]:.2f}" for name in ("key", "bpm", "instruments"))
        found += [
            _row(f"cover ({variant}): similarity falls with strength", r[variant]["monotone"], "yes", r[variant]["monotone"]),
            _at_least(f"cover ({variant}): similarity at 0.9", s["0.9"]["similarity"], 0.8,
                      f"ceiling {r[variant]['ceiling']:.2f}"),
            _at_most(f"cover ({variant}): similarity at 0 no more than {CHANCE_TOLERANCE} over that of its key's other pieces",
                     s["0.0"]["similarity"], r[variant]["same_key"] + CHANCE_TOLERANCE,
                     f"to another clip {s['0.0']['other']:.2f}"),
            _row(f"cover ({variant}): caption following rises", high["mean"] - low["mean"], "> 0",
                 high["mean"] > low["mean"], parts),
        ]  # fmt: skip
    return found


def _cost(r: dict[str, Any]) -> list[Row]:
    return [_at_most("size, MB", r["megabytes"], 64.0), _at_most("8 s of turbo audio, seconds", r["turbo_8s_seconds"], 3.0)]


_GROUPS: dict[str, Callable[[dict[str, Any]], list[Row]]] = {
    "autoencoder": _autoencoder, "captions": _captions, "extract": _extract, "added": _added, "restoring": _restoring,
    "refine": _refine, "repaint": _repaint, "cover": _cover, "cost": _cost,
}  # fmt: skip
