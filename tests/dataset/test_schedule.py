"""The order of steps: weights change seldom, every step comes once, and a job's steps come in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from segue.dataset.schedule import Schedule, Step

TWO = (Step("drafts", "base"), Step("judged", None), Step("polished", "turbo"), Step("rejudged", None))


def carry_out(schedule: Schedule) -> list[tuple[int, str]]:
    """Do everything, work beside the model first."""
    done = []

    def finish(number, step):
        done.append((number, step.stage))
        if schedule.done(number):
            schedule.drop(number)

    while len(schedule):
        for number, step in schedule.beside():
            finish(number, step)
        task = schedule.model()
        if task is not None:
            finish(*task)
    return done


def test_two_variants_change_twice_a_window():
    schedule = Schedule()
    for window in range(3):
        for number in range(10 * window, 10 * window + 10):
            schedule.add(number, TWO)
        carry_out(schedule)
    assert schedule.changes == 6  # 2 * ceil(30 / 10)


def test_one_window_that_holds_all_changes_twice():
    schedule = Schedule()
    for number in range(200):
        schedule.add(number, TWO)
    assert len(carry_out(schedule)) == 800 and schedule.changes == 2


def test_the_weights_at_hand_are_used_first():
    schedule = Schedule(loaded="turbo")
    schedule.add(0, (Step("a", "base"),))
    schedule.add(1, (Step("b", "turbo"),))
    assert schedule.model() == (1, Step("b", "turbo")) and schedule.changes == 0
    assert schedule.model() == (0, Step("a", "base")) and schedule.changes == 1
    assert schedule.model() is None


def test_no_step_is_given_twice_while_it_is_done():
    schedule = Schedule()
    schedule.add(0, (Step("judged", None), Step("drafts", "base")))
    assert list(schedule.beside()) == [(0, Step("judged", None))]
    assert list(schedule.beside()) == [] and schedule.model() is None
    with pytest.raises(ValueError, match="open already"):
        schedule.add(0, TWO)


def test_only_weights_there_is_room_for():
    schedule = Schedule()
    schedule.add(0, (Step("a", "base"),))
    schedule.add(1, (Step("b", "turbo"),))
    assert schedule.model(lambda weights: weights == "turbo") == (1, Step("b", "turbo"))
    assert schedule.model(lambda weights: weights == "turbo") is None


steps = st.lists(st.sampled_from([None, "base", "turbo", "sft"]), min_size=1, max_size=5)


@given(st.lists(steps, min_size=1, max_size=8))
def test_every_step_once_and_in_order(jobs):
    schedule = Schedule()
    for number, weights in enumerate(jobs):
        schedule.add(number, [Step(f"s{place}", one) for place, one in enumerate(weights)])
    done = carry_out(schedule)
    for number, weights in enumerate(jobs):
        assert [stage for n, stage in done if n == number] == [f"s{place}" for place in range(len(weights))]
    assert len(done) == sum(map(len, jobs))
