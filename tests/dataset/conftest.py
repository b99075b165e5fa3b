"""A tiny model of two variants, and nights on it."""

import shutil
from pathlib import Path

import pytest

CREATED = "2026-01-01T00:00:00Z"
PRESET = """
model: {model}
stages:
  drafts: {{type: generate, variant: base, steps: 2}}
  judged: {{type: score, source: drafts}}
  polished: {{type: refine, source: judged, variant: turbo, denoise: 0.5, steps: 2}}
  rejudged: {{type: score, source: polished}}
"""
PLAN = """
name: small
seed: 3
prompts:
  list:
    - {{caption: "slow \\"piano\\"\\n and 🎺", duration_s: 1, instrumental: true, tags: {{genre: jazz}}}}
    - {{caption: "funk band", bpm: 100, duration_s: 1, instrumental: true, tags: {{genre: funk}}}}
    - {{caption: "house loop", bpm: 124, duration_s: 1, instrumental: true, tags: {{genre: house}}}}
runs:
  - {{preset: {preset}, takes: 2}}
strategies:
  - {{compare: seeds}}
  - {{compare: repair}}
window: 8
"""


@pytest.fixture(scope="session")
def two_variants(tiny_model, tmp_path_factory) -> Path:
    """base and turbo, which share everything but the transformer."""
    from segue.pipeline.models.tiny import build_tiny_acestep

    folder = tmp_path_factory.mktemp("two-variants")
    turbo = build_tiny_acestep(tmp_path_factory.mktemp("tiny-turbo") / "turbo", seed=2, kind="turbo")
    for variant, transformer in (("base", Path(tiny_model)), ("turbo", turbo)):
        shutil.copytree(tiny_model, folder / variant)
        shutil.rmtree(folder / variant / "transformer")
        shutil.copytree(transformer / "transformer", folder / variant / "transformer")
    return folder


@pytest.fixture
def plan_file(two_variants, tmp_path):
    """Writes a plan (and its preset) and gives its path; `changes` are keys of the plan's text as YAML lines."""

    def write(changes: str = "", preset: str = PRESET, plan: str = PLAN, model: Path = two_variants) -> Path:
        (tmp_path / "preset.yaml").write_text(preset.format(model=model))
        path = tmp_path / "plan.yaml"
        path.write_text(plan.format(preset=tmp_path / "preset.yaml") + changes)
        return path

    return write


@pytest.fixture
def night(tmp_path):
    """Carries out a plan file into a folder, one thread, fixed tile and time."""
    from segue.dataset.night import run_night
    from segue.pipeline.options import RunOptions

    def run(plan, out="night", **more):
        options = RunOptions(threads=1, tile_frames=50, offline=True)
        return run_night(plan, tmp_path / out, created=CREATED, options=options, **more)

    return run
