"""The grid's sampler: each draw fills the widest gap, by brute force; beginnings are beginnings of longer ones."""

from __future__ import annotations

import doctest
import itertools
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.dataset import grid as grid_module
from segue.dataset import strata as strata_module
from segue.dataset.grid import cell_of, draw_cells, grid_prompts, imbalance
from segue.dataset.plan import Plan, load_plan
from segue.dataset.strata import strata_of, tempo_band
from segue.pipeline.errors import RequestError
from segue.scoring.preferences import Group

GRID = """\
seed: {seed}
prompts:
  grid:
    caption: "{{genre}} with {{inst}} at {{bpm}}"
    genre: [jazz, funk, ambient]
    inst: [piano, guitar]
    bpm: ["70-89", 120]
    instrumental: true
    duration_s: 4
    {more}
runs: [{{preset: base-turbo-refine, takes: 2}}]
"""


def plan(seed: int = 7, more: str = "count: 8") -> Plan:
    return load_plan(GRID.format(seed=seed, more=more))


@pytest.mark.parametrize("module", [grid_module, strata_module])
def test_examples_hold(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert done.attempted and not done.failed


SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**63 - 1), data=st.data())
def test_each_draw_lowers_the_imbalance_most(shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    everything = list(itertools.product(*(range(k) for k in shape)))
    before = data.draw(st.lists(st.sampled_from(everything), max_size=6))
    made = list(before)
    for cell in itertools.islice(draw_cells(shape, seed, before), len(everything) + 2):
        often = Counter(made)
        fresh = [c for c in everything if often[c] == min(often[x] for x in everything)]
        best = min(imbalance(shape, [*made, c]) for c in fresh)
        assert cell in fresh and imbalance(shape, [*made, cell]) == pytest.approx(best, abs=1e-4)
        made.append(cell)


@settings(max_examples=20, deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**63 - 1))
def test_all_combinations_come_once_and_leave_no_imbalance(shape: tuple[int, ...], seed: int) -> None:
    cells = 1
    for k in shape:
        cells *= k
    drawn = list(itertools.islice(draw_cells(shape, seed), cells))
    assert len(set(drawn)) == cells and imbalance(shape, drawn) == pytest.approx(0, abs=1e-9)


def test_balance_comes_early() -> None:
    """A quarter of a grid, drawn, is far more even than the same number drawn by chance."""
    import random

    shape = (6, 5, 4)
    drawn = list(itertools.islice(draw_cells(shape, 3), 30))
    chance = random.Random(1)
    by_chance = [imbalance(shape, [tuple(chance.randrange(k) for k in shape) for _ in range(30)]) for _ in range(50)]
    assert imbalance(shape, drawn) < 0.5 * min(by_chance)
    assert all(max(counts) - min(counts) <= 1 for counts in (Counter(c[a] for c in drawn).values() for a in range(3)))


def test_a_short_grid_is_the_beginning_of_a_long_one() -> None:
    long = list(grid_prompts(plan(more="count: 20")))
    assert [p.model_dump() for p in grid_prompts(plan(more="count: 9"))] == [p.model_dump() for p in long[:9]]
    assert len(long) == 20


def test_the_seed_decides_and_nothing_else() -> None:
    first, again, other = (list(grid_prompts(plan(seed))) for seed in (7, 7, 8))
    assert first == again and first != other


def test_prompts_say_what_their_cell_is() -> None:
    prompts = list(grid_prompts(plan(more="count: 200")))
    for prompt in prompts:
        assert prompt.caption == f"{prompt.tags['genre']} with {prompt.tags['inst']} at {prompt.bpm}"
        assert prompt.instrumental is True and prompt.duration_s == 4
        assert (prompt.bpm == 120) if prompt.tags["bpm"] == "120" else 70 <= prompt.bpm <= 89
        assert strata_of(prompt) == prompt.tags
    assert len({p.bpm for p in prompts}) > 15  # a range is drawn from, all over


def test_left_out_a_count_is_every_combination() -> None:
    prompts = list(grid_prompts(plan(more="timesignature: '4'")))
    assert len(prompts) == 12 == len({tuple(p.tags.values()) for p in prompts})


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("coutn: 3", "Did you mean 'count'?"),
        ("mood: [sad, glad]", "axis 'mood' decides nothing"),
        ("keyscale: []", "axis 'keyscale' has no values"),
        ("keyscale: [C major, C major]", "'C major' twice"),
        ("timesignature: [[1]]", "its values are texts and numbers"),
        ("keyscale: [5]", "keyscale"),
        ("vocal_language: way too long a language", "vocal_language"),
        ("count: 0", "0 must be greater than or equal to 1"),
    ],
)
def test_slips_in_a_grid_are_told(more: str, words: str) -> None:
    with pytest.raises(RequestError) as refused:
        plan(more=more)
    (problem,) = refused.value.problems
    assert words in str(problem) and problem.line in (3, 10)


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("{gener} and {inst}", "{gener}, and there is no such axis. Did you mean 'genre'?"),
        ("{genre", "braces don't match"),
        ("{genre.upper} {inst}", "no plain name"),
        ("{genre!r} {inst}", "no plain name"),
        ("{} {genre} {inst}", "no plain name"),
        ("{genre} alone", "axis 'inst' decides nothing"),
    ],
)
def test_slips_in_a_pattern_are_told(caption: str, words: str) -> None:
    text = GRID.format(seed=1, more="").replace("{genre} with {inst} at {bpm}", caption)
    with pytest.raises(RequestError) as refused:
        load_plan(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(("bpm", "words"), [("109-90", "runs backwards"), ("10-30", "range '10-30'"), ("fast", "bpm 'fast'")])
def test_slips_in_a_range_are_told(bpm: str, words: str) -> None:
    with pytest.raises(RequestError) as refused:
        load_plan(GRID.format(seed=1, more="").replace("70-89", bpm))
    assert words in str(refused.value)


def test_too_many_combinations_are_refused() -> None:
    values = ", ".join(str(i) for i in range(20, 120))
    more = f"keyscale: [{', '.join(f'k{i}' for i in range(700))}]"
    with pytest.raises(RequestError, match="420000 combinations, at most 250000"):
        load_plan(GRID.format(seed=1, more=more).replace('"70-89", 120', values))


def test_an_earlier_dataset_counts(tmp_path: Path) -> None:
    """Only jazz was made before, much of it slow: the draws begin with what is not there."""
    earlier = [Group(id=str(i), stage="scored", prompt={"caption": f"c{i}", "bpm": 80}, strata={"genre": "jazz", "inst": "piano"})
               for i in range(5)]  # fmt: skip
    (tmp_path / "groups.jsonl").write_text("".join(g.to_json() + "\n" for g in earlier), encoding="utf-8")
    drawn = list(grid_prompts(plan(more=f"beyond: {tmp_path}\n    count: 12")))
    cells = [(p.tags["genre"], p.tags["inst"], p.tags["bpm"]) for p in drawn]
    assert len(set(cells)) == 11 and ("jazz", "piano", "70-89") not in cells[:11]
    assert not any(genre == "jazz" for genre, _, _ in cells[:3])
    with pytest.raises(RequestError, match="can't be read"):
        list(grid_prompts(plan(more=f"beyond: {tmp_path}/nowhere\n    count: 12")))


def test_an_earlier_prompt_s_cell_is_found_by_strata_or_fields() -> None:
    axes = plan().prompts.grid.axes
    assert cell_of(axes, {"bpm": 71}, {"genre": "funk", "inst": "guitar", "bpm": "70-89"}) == (1, 1, 0)
    assert cell_of(axes, {"bpm": 89}, {"genre": "funk", "inst": "guitar"}) == (1, 1, 0)
    assert cell_of(axes, {"bpm": 120}, {"genre": "funk", "inst": "guitar", "bpm": "110-129"}) == (1, 1, 1)
    assert cell_of(axes, {"bpm": 90}, {"genre": "funk", "inst": "guitar"}) is None
    assert cell_of(axes, {"bpm": 71}, {"genre": "polka", "inst": "guitar"}) is None


@given(st.integers(20, 400))
def test_a_tempo_lies_in_its_band(bpm: int) -> None:
    low, high = map(int, tempo_band(bpm).split("-"))
    assert low <= bpm <= high == low + 19 and (low - 10) % 20 == 0
