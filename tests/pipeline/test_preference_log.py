"""The preference log: append-only, mended where a line was torn, honest where it isn't, shared by processes."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from helpers.processes import ended, fork
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.pipeline.errors import RunError
from segue.pipeline.preference_log import PreferenceLog
from segue.scoring.preferences import Generation, Group, GroupEntry, pairs_best_worst


def a_group(name="g1", scores=(8.0, 3.0), run="r1"):
    entries = tuple(
        GroupEntry(take=f"scored/{i}", index=i, seed=i, overall=s, duration_s=8.0, generation=Generation(seed=i),
                   pcm_sha256=f"{name}-{i}", audio_path=f"{run}/{i}.flac")
        for i, s in enumerate(scores)
    )
    return Group(id=name, stage="scored", prompt={"caption": "ünïcode 🎷\nsecond line"}, run=run, entries=entries)


def test_groups_come_back_in_order_and_pairs_follow(tmp_path):
    log = PreferenceLog(tmp_path / "new" / "folder")
    groups = [a_group("a"), a_group("b", (1.0, 1.0)), a_group("c", (2.0, None, 5.0))]
    assert [log.append(g) for g in groups] == [True, True, True]
    assert list(log.groups()) == list(PreferenceLog(log.folder).groups()) == groups
    assert not log.pairs_path.exists()
    assert log.write_pairs() == 2
    assert list(log.pairs()) == [*pairs_best_worst(groups[0]), *pairs_best_worst(groups[2])]
    assert log.groups_path.read_bytes().count(b"\n") == 3 and log.pairs_path.read_bytes().count(b"\n") == 2


def test_a_resumed_run_logs_nothing_twice(tmp_path):
    log = PreferenceLog(tmp_path)
    assert log.append(a_group()) is True
    assert log.append(a_group()) is False
    assert PreferenceLog(tmp_path).append(a_group(run="resumed")) is False  # same takes and scores, another run
    assert PreferenceLog(tmp_path).append(a_group(scores=(8.0, 4.0))) is True  # scored otherwise
    assert len(list(log.groups())) == 2


def test_a_pair_two_groups_give_is_written_once(tmp_path):
    log = PreferenceLog(tmp_path)
    log.append(a_group(scores=(8.0, 3.0)))
    log.append(a_group(scores=(8.5, 3.0)))
    assert log.write_pairs() == 1 and log.write_pairs() == 1


def test_pairs_can_be_derived_anew_by_another_strategy(tmp_path):
    log = PreferenceLog(tmp_path)
    log.append(a_group(scores=(1.0, 2.0, 3.0, 4.0)))
    assert log.write_pairs() == 1
    assert log.write_pairs(lambda g: pairs_best_worst(g, k=2)) == 4 and len(list(log.pairs())) == 4
    assert log.write_pairs(lambda g: pairs_best_worst(g, margin=9)) == 0 and list(log.pairs()) == []
    assert PreferenceLog.pairs_of(a_group()) == pairs_best_worst(a_group())


def test_an_empty_log_gives_nothing_and_makes_no_file(tmp_path):
    with PreferenceLog(tmp_path / "none") as log:
        assert list(log.groups()) == [] and list(log.pairs()) == []
    assert not (tmp_path / "none").exists()
    assert log.write_pairs() == 0 and log.pairs_path.read_bytes() == b""


# -- torn and broken lines ----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_torn_last_line_is_cut_wherever_it_was_torn(tmp_path_factory, part):
    folder = tmp_path_factory.mktemp("torn")
    log = PreferenceLog(folder, durable=False)
    log.append(a_group("a"))
    whole = log.groups_path.read_bytes()
    log.append(a_group("b"))
    both = log.groups_path.read_bytes()
    cut = len(whole) + int(part * (len(both) - len(whole) - 1))  # the line's end and at least one byte are missing
    log.groups_path.write_bytes(both[:cut])
    told = []
    again = PreferenceLog(folder, durable=False, on_warning=told.append)
    assert log.groups_path.read_bytes() == whole and list(again.groups()) == [a_group("a")]
    assert len(told) == (cut > len(whole)) and all("torn" in t for t in told)
    assert again.append(a_group("b")) is True
    assert log.groups_path.read_bytes() == both


def test_a_whole_last_line_that_lacks_only_its_end_is_kept(tmp_path):
    log = PreferenceLog(tmp_path)
    log.append(a_group("a"))
    log.groups_path.write_bytes(log.groups_path.read_bytes().rstrip(b"\n"))
    again = PreferenceLog(tmp_path)
    assert list(again.groups()) == [a_group("a")] and log.groups_path.read_bytes().endswith(b"\n")
    assert again.append(a_group("a")) is False


@pytest.mark.parametrize("tail", [b"\0" * 4096, b"\0" * 100 + b'"entries":[]}\n'])
def test_blocks_a_lost_power_left_empty_count_as_torn(tmp_path, tail):
    log = PreferenceLog(tmp_path)
    log.append(a_group("a"))
    whole = log.groups_path.read_bytes()
    log.groups_path.write_bytes(whole + tail)
    assert list(PreferenceLog(tmp_path).groups()) == [a_group("a")]
    assert log.groups_path.read_bytes() == whole


@pytest.mark.parametrize(("bad", "says"), [(b"garbage", "Invalid JSON"), (b"{}", "Field required"), (b"", "Invalid JSON"),
                                           (b'{"id": "x", "stage": "s", "colour": 1}', "Extra"), (b"\0\0", "Invalid JSON")])
def test_a_broken_line_before_the_last_is_an_error_that_names_it(tmp_path, bad, says):
    log = PreferenceLog(tmp_path)
    for name in "abc":
        log.append(a_group(name))
    lines = log.groups_path.read_bytes().split(b"\n")
    log.groups_path.write_bytes(b"\n".join([lines[0], bad, *lines[1:]]))
    before = log.groups_path.read_bytes()
    with pytest.raises(RunError, match=rf"groups\.jsonl, line 2: .*{says}"):
        PreferenceLog(tmp_path)
    assert log.groups_path.read_bytes() == before


def test_a_broken_line_that_has_its_end_is_an_error_even_as_the_last(tmp_path):
    log = PreferenceLog(tmp_path)
    log.append(a_group("a"))
    with log.groups_path.open("ab") as file:
        file.write(b"a note someone wrote here\n")
    with pytest.raises(RunError, match=r"line 2"):
        PreferenceLog(tmp_path)
    with pytest.raises(RunError, match=r"line 2"):
        log.append(a_group("b"))


# -- processes ----------------------------------------------------------------------------------------------------


def test_processes_share_a_log(tmp_path):
    def work(which):
        log = PreferenceLog(tmp_path, durable=False)
        for i in range(25):
            log.append(a_group(f"mine-{which}-{i}"))
            log.append(a_group(f"ours-{i}"))
            if i % 5 == 0:
                log.write_pairs()

    children = [fork(lambda w=w: work(w)) for w in range(3)]
    assert [ended(pid) for pid in children] == [0, 0, 0]
    log = PreferenceLog(tmp_path)
    names = [g.id for g in log.groups()]
    assert len(names) == len(set(names)) == 3 * 25 + 25
    assert log.write_pairs() == 100


def test_a_writer_waits_for_the_one_who_holds_the_log(tmp_path):
    log = PreferenceLog(tmp_path)
    log.append(a_group("a"))
    with log.groups_path.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        fd = held.fileno()
        child = fork(lambda: (os.close(fd), PreferenceLog(tmp_path).append(a_group("b"))))  # not with the lock it inherits
        time.sleep(0.3)
        assert os.waitpid(child, os.WNOHANG) == (0, 0) and log.groups_path.read_bytes().count(b"\n") == 1
        held.seek(0, os.SEEK_END)
        held.write(a_group("b").to_json().encode() + b"\n")  # the holder is first with the same group
    assert ended(child) == 0
    assert [g.id for g in log.groups()] == ["a", "b"]


def test_killed_at_any_file_operation_the_log_is_whole(tmp_path):
    """The child kills itself at its n-th file operation while it appends and derives, for every n there is."""
    n = 0
    while True:
        folder = tmp_path / str(n)
        PreferenceLog(folder).append(a_group("old"))
        PreferenceLog(folder).write_pairs()

        def work(n=n, folder=folder):
            seen = 0

            def hook(event, args):
                nonlocal seen
                if event in ("open", "os.rename", "os.remove", "fcntl.flock", "os.truncate"):
                    if seen == n:
                        os.kill(os.getpid(), signal.SIGKILL)
                    seen += 1

            sys.addaudithook(hook)
            with PreferenceLog(folder) as log:
                log.append(a_group("new"))
                log.write_pairs()

        code = ended(fork(work))
        assert code in (0, -signal.SIGKILL)
        log = PreferenceLog(folder)
        assert [g.id for g in log.groups()] in (["old"], ["old", "new"])
        assert [p.group for p in log.pairs()] in (["old"], ["old", "new"])
        log.append(a_group("new"))  # what a resume does
        assert log.write_pairs() == 2 and [g.id for g in log.groups()] == ["old", "new"]
        n += 1
        if code == 0:
            break
    assert n > 5


# -- a disk that refuses ------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_no_half_line_stays(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        log, n = PreferenceLog(disk), 0
        with pytest.raises(RunError, match=r"could not write the preference log .*No space left"):
            while True:
                log.append(a_group(f"g{n}"))
                n += 1
        text = log.groups_path.read_text()
        assert text.endswith("\n") and len(text.splitlines()) == n
        assert [json.loads(line)["id"] for line in text.splitlines()] == [f"g{i}" for i in range(n)]
        with pytest.raises(RunError, match=r"could not write the preference pairs .*No space left"):
            log.write_pairs()
        assert [p.name for p in disk.iterdir()] == ["groups.jsonl"]
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        assert log.append(a_group(f"g{n}")) is True and log.write_pairs() == n + 1
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"could not write the preference log .*not a folder"):
        PreferenceLog(tmp_path / "file").append(a_group())
