"""How the page looks, and the few lines of script it has. No address of anything outside the page is in here."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark; --back: #f5f6f8; --panel: #fff; --ink: #1c2530; --faint: #556070; --line: #d5dae1;
  --accent: #2c5f9e; --bar: #cfe0f5; --best: #17663a; --bestback: #dff3e5; --wave: #3b6ea8; }
@media (prefers-color-scheme: dark) { :root { --back: #12161c; --panel: #1b212a; --ink: #e6eaf0; --faint: #a3aebc;
  --line: #36404d; --accent: #8ab8f0; --bar: #2a4568; --best: #8fe0ab; --bestback: #1d3a29; --wave: #7aa9de; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
header, main, footer { max-width: 1560px; margin: 0 auto; padding: 0 clamp(12px, 2.5vw, 40px); }
h1 { font-size: clamp(1.4rem, 4vw, 2rem); margin: 1.2rem 0 .2rem; line-height: 1.2; }
h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; scroll-margin-top: 3.4rem; }
h3 { font-size: 1.05rem; margin: 0; }
p { margin: .3rem 0; } .faint { color: var(--faint); font-size: .9rem; } a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
nav { position: sticky; top: 0; z-index: 3; background: var(--back); border-bottom: 1px solid var(--line); padding: .4rem 0; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: 0; padding: 0; }
.skip { position: absolute; left: -9999px; } .skip:focus { left: 8px; top: 8px;
  background: var(--panel); padding: .4rem; z-index: 9; }
.panel, .card { background: var(--panel); border: 1px solid var(--line); border-radius: 10px; padding: 12px; }
.graph { background: #fff; color: #1c2530; overflow-x: auto; width: fit-content; max-width: 100%; }
.graph svg { max-width: none !important; height: auto; display: block; }
.cards { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 360px), 1fr)); }
.card { scroll-margin-top: 3.4rem; min-width: 0; } .card header { display: flex; justify-content: space-between; gap: 8px;
  padding: 0; }
.score { font-size: 1.25rem; font-weight: 700; white-space: nowrap; } .score small { font-weight: 400; color: var(--faint); }
audio { width: 100%; margin: .5rem 0; display: block; }
figure { margin: .4rem 0; } .wave { display: block; width: 100%; height: 56px; }
.spec { position: relative; line-height: 0; } .spec img { width: 100%; height: 168px; display: block; border-radius: 4px; }
.spec span { position: absolute; left: 4px; font-size: 12px; line-height: 1; color: #fff; text-shadow: 0 0 3px #000, 0 0 3px #000;
  transform: translateY(50%); }
.times { display: flex; justify-content: space-between; font-size: 12px; color: var(--faint); }
.chips { display: flex; flex-wrap: wrap; gap: 6px; list-style: none; padding: 0; margin: .4rem 0 0; font-size: .88rem; }
.chips li { border: 1px solid var(--line); border-radius: 999px; padding: 0 10px; }
.stems { border-top: 1px solid var(--line); margin-top: .7rem; padding-top: .5rem; } h4 { font-size: .95rem; margin: 0; }
.stems > ul { list-style: none; margin: .2rem 0 0; padding: 0; } .stems > ul > li { padding: .25rem 0; }
.stems small { color: var(--faint); } .stems .chips { margin-top: .15rem; } .inner { margin: .3rem 0 0 1.2rem; }
.dot { display: inline-block; width: .8em; height: .8em; border-radius: 50%; border: 1px solid var(--line);
  vertical-align: -.05em; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: var(--panel); }
table { border-collapse: collapse; width: 100%; font-size: .92rem; overflow-wrap: normal; }
th, td { padding: 5px 10px; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
td.long { white-space: normal; min-width: 16rem; overflow-wrap: anywhere; } tr:last-child > * { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.compare tbody th { position: sticky; left: 0; background: var(--panel); font-weight: 500; }
.compare td { background-image: linear-gradient(90deg, var(--bar), var(--bar)); background-repeat: no-repeat;
  background-size: var(--share, 0%) 5px; background-position: left bottom; }
.compare tr.same td, .compare tr.same th { color: var(--faint); }
.compare td.best { background-color: var(--bestback); color: var(--best); font-weight: 700; }
.sides { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 300px), 1fr)); }
pre { overflow-x: auto; margin: 0; font: 13px/1.45 ui-monospace, monospace; overflow-wrap: normal; }
summary { cursor: pointer; padding: 4px 0; } .pair { margin-bottom: 12px; }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
@media (max-width: 480px) { th, td { padding: 4px 7px; } .compare tbody th { max-width: 8rem; white-space: normal; } }
@media print { nav { position: static; } .card { break-inside: avoid; } }
"""

# One sound at a time. A player that starts while another plays goes on from where that one was, so that takes can be compared.
SCRIPT = """
document.addEventListener("play", function (event) {
  document.querySelectorAll("audio").forEach(function (other) {
    if (other === event.target || other.paused) return;
    if (other.currentTime < event.target.duration) event.target.currentTime = other.currentTime;
    other.pause();
  });
}, true);
"""


def policy(linked: bool) -> str:
    """The content security policy: nothing from anywhere, but this page's own data, style and this very script (and the linked
    sounds, where there are any)."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    media = "data: 'self' file:" if linked else "data:"
    return f"default-src 'none'; img-src data:; media-src {media}; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
