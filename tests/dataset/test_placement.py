"""Which process does which step: weights are seldom changed, nobody is given too much, everything gets done."""

import random
from collections import Counter

import pytest
from segue.dataset.placement import DEPTH, Places

CHAINS = {
    "one variant": ["a", None],
    "two variants": ["a", None, "b", None],
    "there and back": ["a", "b", None, "a", None],
    "three variants": ["a", "b", None, "c", None],
}


def carried_out(places, chain, jobs, window, seed):
    """Every job through its chain, `2 * window` of them open at a time, steps on the model ending in the order of their length;
    gives how often each process was given other weights."""
    rng, changes, waiting, open_, flying, clock = random.Random(seed), Counter(), list(range(jobs)), {}, [], 0.0
    while waiting or open_:
        while waiting and len(open_) < 2 * window:
            number = waiting.pop(0)
            places.open(number, chain)
            open_[number] = 0
        for number in sorted(open_):
            while open_[number] < len(chain) and chain[open_[number]] is None:
                places.passed(number)
                open_[number] += 1
            if open_[number] == len(chain):
                places.shut(number)
                del open_[number]
        busy = {number for _, number, _ in flying}
        for number in sorted(open_):
            weights = chain[open_[number]]
            if number not in busy and places.choose(weights) is not None:
                before = list(places.holds)
                place = places.begin(number, weights)
                changes[place] += before[place] != weights
                assert places.load[place] <= DEPTH
                flying.append((clock + rng.random(), number, place))
        if flying:
            clock, number, place = flying.pop(flying.index(min(flying)))
            places.end(place, number, done=True)
            open_[number] += 1
    assert places.load == [0] * len(places.load)
    return changes


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_everything_gets_done_and_weights_change_a_few_times_a_window(chain, count, seed):
    jobs, window = 40, 8
    changes = carried_out(Places(count), chain, jobs, window, seed)
    on_model = [w for w in chain if w is not None]
    assert max(changes.values()) <= len(on_model) * (jobs / window)


def test_one_process_changes_weights_as_seldom_as_the_schedule_of_one():
    assert carried_out(Places(1), CHAINS["two variants"], 16, 8, 0)[0] == 2


def test_one_variant_is_loaded_once_by_every_process():
    assert carried_out(Places(3), CHAINS["one variant"], 40, 8, 0) == {0: 1, 1: 1, 2: 1}


def test_each_variant_gets_a_process_of_its_own_where_there_are_enough():
    places = Places(2)
    for number in range(4):
        places.open(number, ["a", None, "b"])
    assert [places.begin(n, "a") for n in (0, 1)] == [0, 0]  # the other is kept for b, which is to come
    assert places.choose("a") is None
    places.end(0, 0, done=True)
    places.passed(0)
    assert places.begin(0, "b") == 1


def test_a_process_that_has_nothing_to_do_helps_and_one_whose_weights_are_wanted_does_not():
    places = Places(1)
    places.open(0, ["a"])
    places.open(1, ["b"])
    places.open(2, ["a"])
    assert places.begin(0, "a") == 0
    places.end(0, 0, done=True)
    assert places.choose("b") is None and places.begin(2, "a") == 0  # a is still wanted
    places.end(0, 2, done=True)
    assert places.begin(1, "b") == 0


def test_a_failed_step_leaves_its_place_to_others():
    places = Places(1)
    places.open(0, ["a"])
    place = places.begin(0, "a")
    places.end(place, 0, done=False)
    places.shut(0)
    places.shut(0)  # again: nothing
    places.open(1, ["b"])
    assert places.begin(1, "b") == 0


def test_no_room_is_an_error_and_not_a_wait():
    places = Places(1)
    for number in range(3):
        places.open(number, ["a"])
    places.begin(0, "a"), places.begin(1, "a")
    with pytest.raises(ValueError, match="no process has room"):
        places.begin(2, "a")


def test_a_process_that_does_not_answer_is_given_nothing_and_its_weights_go_to_another():
    places = Places(2)
    for number in range(3):
        places.open(number, ["a", "b"])
    assert places.begin(0, "a") == 0
    places.away = {0}
    assert places.begin(1, "a") == 1
    places.end(1, 1, done=True)
    assert places.begin(2, "a") == 1 and places.choose("b") is None  # 1 is at work
    places.end(1, 2, done=True)
    assert places.begin(1, "b") == 1
    places.away = set()
    places.end(0, 0, done=True)
    assert places.holds == ["a", "b"] and places.load == [0, 1]
