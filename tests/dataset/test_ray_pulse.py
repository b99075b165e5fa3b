"""Processes that fall silent are noticed, and so are those that answer again."""

from concurrent.futures import Future

from segue.dataset.ray_pulse import LOST_S, PULSE_S, Pulse


class Ward:
    """Processes that answer or don't, and a clock."""

    def __init__(self):
        self.now, self.asked, self.silent = 0.0, [], {}

    def ask(self, place):
        self.asked.append(place)
        future = Future()
        if place in self.silent:
            self.silent[place].append(future)
        else:
            future.set_result("here")
        return future

    def feel(self, pulse, wanted, seconds):
        """Look after them for so long; gives who was lost on the way."""
        lost = []
        for _ in range(int(seconds / PULSE_S) + 1):
            self.now += PULSE_S
            lost += pulse.feel(wanted)
        return lost


def test_who_answers_is_never_lost_and_who_has_nothing_to_do_is_not_asked():
    ward = Ward()
    pulse = Pulse(ward.ask, lambda: ward.now)
    assert ward.feel(pulse, {0, 1}, 3 * LOST_S) == [] and pulse.lost == frozenset()
    assert set(ward.asked) == {0, 1}


def test_the_silent_one_is_lost_once_and_comes_back_when_it_answers():
    ward = Ward()
    ward.silent[1] = []
    pulse = Pulse(ward.ask, lambda: ward.now)
    assert ward.feel(pulse, {0, 1}, LOST_S - PULSE_S) == []
    assert ward.feel(pulse, {0, 1}, LOST_S) == [1] and pulse.lost == {1}
    assert len(ward.silent[1]) == 1  # one question is enough
    ward.silent.pop(1)[0].set_result("here")
    assert ward.feel(pulse, set(), PULSE_S) == [] and pulse.lost == frozenset()


def test_who_can_not_be_asked_is_silent():
    ward = Ward()

    def refuse(place):
        if place == 1:
            raise ConnectionError("gone")
        future = Future()
        future.set_exception(ConnectionError("died"))
        return future

    pulse = Pulse(refuse, lambda: ward.now)
    assert sorted(ward.feel(pulse, {0, 1}, 2 * LOST_S)) == [0, 1]
