"""A preset with many faults: those of its text and those that model, graph and files tell come in one error."""

from __future__ import annotations

from pathlib import Path

import pytest
from segue.pipeline.errors import Problem, RequestError
from segue.presets.loader import load


def faults(text: str) -> list[Problem]:
    with pytest.raises(RequestError) as caught:
        load(text)
    return caught.value.problems


def said(problems: list[Problem], stage: str | None, key: str) -> str:
    found = [p.cause for p in problems if (p.stage, p.key) == (stage, key)]
    assert len(found) == 1, (stage, key, "\n".join(map(str, problems)))
    return found[0]


def test_six_kinds_of_faults_are_one_error(tmp_path: Path, clip: Path) -> None:
    """A value of the wrong kind (1), an unknown key (2), a source that is not there (3), a variant that can't do the task (4),
    a window past the end of a file (5), an adapter that is not there (6), a length over the model's limit (7), and more."""
    path = tmp_path / "bad.yaml"
    path.write_text(f"""
prompt: {{caption: tones, duration_s: 8}}
inputs: {{clip: {clip}, lost: lost.wav}}
stages:
  wrong: {{type: generate, steps: many}}
  odd: {{type: generate, cfg: 3, variant: turbo, adapters: [{{path: nowhere.safetensors}}]}}
  away: {{type: refine, source: wrnog}}
  stem: {{type: extract, source: clip, track: drums, variant: turbo}}
  late: {{type: repaint, source: clip, start_s: 5, end_s: 6}}
  long: {{type: generate, prompt: {{duration_s: 3000}}}}
  other: {{type: refine, source: clip, variant: trubo}}
  best: {{type: select, source: away}}
""")
    with pytest.raises(RequestError) as caught:
        load(path)
    found = caught.value.problems
    assert "'many'" in said(found, "wrong", "steps")
    assert "no key 'cfg'" in said(found, "odd", "cfg")
    assert "nowhere.safetensors" in said(found, "odd", "adapters[0].path")  # of the very stage that has a wrong key
    assert "Did you mean 'wrong'?" in said(found, "away", "source")
    assert "can't do extract" in said(found, "stem", "variant")
    assert "begins at or after the end" in said(found, "late", "start_s")
    assert "3000 s" in said(found, "long", "prompt.duration_s")
    assert "Did you mean 'turbo'?" in said(found, "other", "variant")
    assert "needs a report" not in "".join(p.cause for p in found)  # nothing is known of what 'away' carries
    assert "does not exist" in said(found, None, "inputs.lost")
    assert len(found) == 9 and all(p.line for p in found)


def test_a_wrong_value_of_the_preset_itself_hides_nothing() -> None:
    found = faults("""
takes: none
prompt: {caption: x, duration_s: -1, bpm: 90}
stages:
  draft: {type: generate, variant: trubo}
  stem: {type: lego, source: draft, track: bass, variant: turbo}
""")
    assert {(p.stage, p.key) for p in found} == {
        (None, "takes"), (None, "prompt.duration_s"), ("draft", "variant"), ("stem", "variant"),
    }  # and no complaint that draft has no length: it was given, and wrong


def test_what_hangs_on_a_wrong_key_is_not_guessed() -> None:
    found = faults("""
prompt: {caption: x, duration_s: 5}
stages:
  a: {type: extract, source: b, track: drums, variant: 3}
  b: {type: generate, variant: turbo, schedule: turbo, steps: 30.5}
""")
    assert {(p.stage, p.key) for p in found} == {("a", "variant"), ("b", "steps")}


def test_a_model_that_is_not_there_is_told_with_the_rest_and_the_hub_is_not_asked() -> None:
    body = "stages:\n  draft: {type: generate, steps: x, prompt: {duration_s: 2}}\n"
    assert {p.key for p in faults(f"model: ./no-such-folder\n{body}")} == {"model", "steps"}
    assert {p.key for p in faults(f"model: somebody/something\n{body}")} == {"steps"}
    assert {p.key for p in faults(f"model: '~nobody-of-that-name/x'\n{body}")} == {"model", "steps"}
    assert {p.key for p in faults(f"model: {'long' * 90}\n{body}")} == {"model", "steps"}
