"""The store: bit-equal, whole after any kill, honest about damage, shared by processes, clear about a disk that refuses."""

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.pipeline.context import Result
from segue.pipeline.errors import RunError
from segue.pipeline.keys import digest
from segue.pipeline.spec import Prompt
from segue.pipeline.store import Entry, Store
from segue.pipeline.take import Audio, Latent
from segue.scoring.report import Defect, Metric, QualityReport

KEY = digest("a key")
REPORT = QualityReport(
    overall=7.123456789012345, scorer="test 1", duration_s=0.1, rate_hz=48_000,
    metrics={"crest_db": Metric(value=0.1 + 0.2, unit="dB")},
    defects=(Defect(type="clipping", severity=0.25, start_s=0.0, end_s=0.01, evidence={"samples": 3}),),
)


def an_entry(seed=0, samples=2_000, latent=True):
    g = torch.Generator().manual_seed(seed)
    return Entry(
        audio=Audio(torch.randn(2, samples, generator=g), 48_000),
        latent=Latent(torch.randn(10, 64, generator=g), 25.0, "codec-1", t=0.1, samples=samples) if latent else None,
        prompt=Prompt(caption="ünïcode 🎷", bpm=96, duration_s=0.1), report=REPORT,
        facts={"gain_db": -1 / 3, "windows": [[0.5, 1.0]]}, steps_run=5, forwards=10,
    )


def bits(x):
    return x.contiguous().view(torch.int32)


def assert_same(a, b):
    assert (a.audio is None) == (b.audio is None) and (a.latent is None) == (b.latent is None)
    if a.audio is not None:
        assert torch.equal(bits(a.audio.samples), bits(b.audio.samples)) and a.audio.rate_hz == b.audio.rate_hz
    if a.latent is not None:
        assert torch.equal(bits(a.latent.frames), bits(b.latent.frames))
        assert [getattr(a.latent, n) for n in ("frame_rate_hz", "codec", "t", "samples")] == [
            getattr(b.latent, n) for n in ("frame_rate_hz", "codec", "t", "samples")]
    for name in ("same_signal", "prompt", "report", "steps_run", "forwards"):
        assert getattr(a, name) == getattr(b, name), name
    assert dict(a.facts) == dict(b.facts)


def files(root):
    return sorted(p for p in Path(root).rglob("*") if p.is_file() and p.name != ".lock")


@contextlib.contextmanager
def small_disk(folder, size="1m"):
    """A real file system of that size, mounted on `folder`; skips with the reason where mounting isn't permitted."""
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fork(work):
    """Run `work` in a child process; gives its number. The child does no parallel tensor work."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# -- what comes back ----------------------------------------------------------------------------------------------


def test_what_comes_back_is_bit_equal(tmp_path):
    store, entry = Store(tmp_path), an_entry()
    assert store.get(KEY) is None and not store.has(KEY)
    store.put(KEY, entry)
    assert store.has(KEY) and list(store.keys()) == [KEY]
    assert_same(Store(tmp_path).get(KEY), entry)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=12), st.integers(1, 3), st.sampled_from([8_000, 192_000]))
def test_any_float_bits_survive_nan_payloads_and_minus_zero_too(tmp_path_factory, values, channels, rate):
    words = torch.tensor([v - 2**32 if v >= 2**31 else v for v in values], dtype=torch.int32)
    samples = words.view(torch.float32).repeat(channels, 1)
    root = tmp_path_factory.mktemp("bits")
    Store(root, durable=False).put(KEY, Entry(audio=Audio(samples, rate)))
    back = Store(root).get(KEY).audio
    assert back.samples.shape == samples.shape and back.rate_hz == rate
    assert torch.equal(bits(back.samples), bits(samples))


def test_an_entry_without_views_keeps_its_facts(tmp_path):
    entry = Entry(same_signal=True, report=REPORT, facts={"words": ["a"]})
    Store(tmp_path).put(KEY, entry)
    assert_same(Store(tmp_path).get(KEY), entry)


def test_non_contiguous_and_inference_tensors_are_kept_by_value(tmp_path):
    with torch.inference_mode():
        samples = torch.arange(12.0).reshape(4, 3).T
        Store(tmp_path).put(KEY, Entry(audio=Audio(samples, 8_000)))
    assert Store(tmp_path).get(KEY).audio.samples.tolist() == samples.tolist()


def test_other_dtypes_are_refused_rather_than_rounded(tmp_path):
    with pytest.raises(TypeError, match="float64"):
        Store(tmp_path).put(KEY, Entry(audio=Audio(torch.zeros(1, 4, dtype=torch.float64), 8_000)))
    assert files(tmp_path) == []


def test_a_result_goes_in_and_comes_out(tmp_path):
    result = Result(audio=an_entry().audio, prompt=Prompt(caption="x"), report=REPORT, facts={"a": 1}, steps_run=3, forwards=6)
    Store(tmp_path).put(KEY, Entry.of(result))
    assert_same(Store(tmp_path).get(KEY).result(), result)


def test_facts_come_without_reading_the_views(tmp_path):
    store = Store(tmp_path)
    store.put(KEY, an_entry())
    for path in tmp_path.glob("*/*.safetensors"):
        path.unlink()
    facts = store.facts(KEY)
    assert facts.audio is None and facts.steps_run == 5 and facts.report == REPORT
    assert store.facts(digest("none")) is None


@pytest.mark.parametrize("key", ["../../etc/passwd", "", "abc", "A" * 40, "a" * 40 + "\n", "a" * 39 + "/"])
def test_what_is_no_key_reaches_no_file(tmp_path, key):
    for ask in (Store(tmp_path).get, Store(tmp_path).has, lambda k: Store(tmp_path).put(k, an_entry())):
        with pytest.raises(ValueError, match="is no key"):
            ask(key)


# -- same key, same bytes -----------------------------------------------------------------------------------------


def test_the_first_to_finish_a_key_wins(tmp_path):
    store, first = Store(tmp_path), an_entry(1)
    store.put(KEY, first)
    before = {p: p.read_bytes() for p in files(tmp_path)}
    store.put(KEY, an_entry(2))
    assert {p: p.read_bytes() for p in files(tmp_path)} == before


def test_a_view_joins_later_and_the_rest_stays(tmp_path):
    store, entry = Store(tmp_path), an_entry()
    store.put(KEY, Entry(latent=entry.latent, report=REPORT, facts={"a": 1}, steps_run=2))
    assert store.get(KEY).audio is None
    assert store.put_view(KEY, entry.audio)
    assert_same(store.get(KEY), Entry(audio=entry.audio, latent=entry.latent, report=REPORT, facts={"a": 1}, steps_run=2))
    assert store.verify().whole and not store.verify().leftovers


def test_a_view_of_nothing_is_not_kept(tmp_path):
    store = Store(tmp_path)
    assert store.put_view(KEY, an_entry().audio) is False
    assert files(tmp_path) == [] and store.get(KEY) is None


def test_processes_putting_the_same_keys_leave_one_whole_entry_each(tmp_path):
    keys, contents = [digest(i) for i in range(12)], {}
    for i, key in enumerate(keys):
        contents[key] = (an_entry(i), an_entry(i, samples=1_500))  # the second stands for a process that broke the promise

    def work(which):
        order = random.Random(which).sample(keys, len(keys))
        store = Store(tmp_path, on_warning=lambda text: os._exit(3))
        for key in order:
            store.put(key, contents[key][which % 2])
            found = store.get(key)
            mine = [(torch.equal(found.audio.samples, e.audio.samples), torch.equal(found.latent.frames, e.latent.frames))
                    for e in contents[key]]
            assert sum(a and b for a, b in mine) == 1  # one writer's entry in whole, never parts of two

    children = [fork(lambda which=which: work(which)) for which in range(4)]
    assert [ended(pid) for pid in children] == [0, 0, 0, 0]
    report = Store(tmp_path).verify()
    assert report.whole and report.entries == len(keys) and not report.leftovers


def test_processes_adding_different_views_lose_none(tmp_path):
    entry, keys = an_entry(), [digest(i) for i in range(20)]
    store = Store(tmp_path, durable=False)
    for key in keys:
        store.put(key, Entry(facts={"a": 1}))
    views = [entry.audio, entry.latent]
    children = [fork(lambda v=v: [Store(tmp_path, durable=False).put_view(k, v) for k in keys]) for v in views]
    assert [ended(pid) for pid in children] == [0, 0]
    for key in keys:
        assert store.get(key).audio is not None and store.get(key).latent is not None


# -- kill -9 ------------------------------------------------------------------------------------------------------


def test_killed_at_any_file_operation_the_store_is_whole(tmp_path):
    """The child kills itself at its n-th file operation, for every n there is: put, then put_view, over a store in use."""
    entry, old = an_entry(), digest("old")
    Store(tmp_path).put(old, entry)
    outcomes, n = set(), 0
    while True:
        key = digest(["killed", n])

        def work(n=n, key=key):
            seen = 0

            def hook(event, args):
                nonlocal seen
                if event in ("open", "os.rename", "os.remove", "os.mkdir", "fcntl.flock"):
                    if seen == n:
                        os.kill(os.getpid(), signal.SIGKILL)
                    seen += 1

            store = Store(tmp_path)
            sys.addaudithook(hook)
            store.put(key, Entry(latent=entry.latent, facts={"a": 1}))
            store.put_view(key, entry.audio)

        code = ended(fork(work))
        assert code in (0, -signal.SIGKILL)
        messages = []
        store = Store(tmp_path, on_warning=messages.append)
        report = store.verify()
        assert report.whole, report.damaged
        found = store.get(key)
        outcomes.add("none" if found is None else "latent" if found.audio is None else "both")
        if found is not None:
            assert torch.equal(found.latent.frames, entry.latent.frames)
        store.put(key, Entry(audio=entry.audio, latent=entry.latent, facts={"a": 1}))  # what a resume does
        assert_same(store.get(key), Entry(audio=entry.audio, latent=entry.latent, facts={"a": 1}))
        assert_same(store.get(old), entry)
        assert messages == []
        n += 1
        if code == 0:
            break
    assert n > 10 and outcomes == {"none", "latent", "both"}
    store.gc()
    assert store.verify().leftovers == () and len(list(store.keys())) == n + 1
    assert len(files(tmp_path)) == 3 * (n + 1)  # a header and two views each: nothing else is left


def test_killed_at_any_file_operation_of_a_collection_the_store_is_whole(tmp_path):
    store, n = Store(tmp_path, durable=False), 0
    while True:
        for i in range(3):
            store.put(digest(i), an_entry(i))

        def work(n=n):
            seen = 0

            def hook(event, args):
                nonlocal seen
                if event in ("open", "os.remove", "os.rmdir"):
                    if seen == n:
                        os.kill(os.getpid(), signal.SIGKILL)
                    seen += 1

            sys.addaudithook(hook)
            Store(tmp_path).gc(max_bytes=0, keep={digest(2)})

        code = ended(fork(work))
        assert code in (0, -signal.SIGKILL) and store.verify().whole, store.verify().damaged
        assert_same(store.get(digest(2)), an_entry(2))
        n += 1
        if code == 0:
            break
    assert n > 6 and list(store.keys()) == [digest(2)]


def test_killed_at_random_moments_what_was_reported_done_is_there(tmp_path):
    rng, entry = random.Random(7), an_entry(samples=50_000)
    for attempt in range(8):
        done = tmp_path / f"done-{attempt}"

        def work(attempt=attempt, done=done):
            store, fd = Store(tmp_path / "store"), os.open(done, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
            for i in range(10_000):
                store.put(digest([attempt, i]), entry)
                os.write(fd, f"{digest([attempt, i])}\n".encode())

        pid = fork(work)
        time.sleep(0.02 + rng.random() * 0.15)
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL
        store = Store(tmp_path / "store")
        assert store.verify().whole
        for key in done.read_text().split() if done.exists() else []:
            assert store.has(key)
    assert list(store.keys())
    store.gc()
    assert store.verify().leftovers == ()


# -- damage -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(which=st.integers(0, 2), where=st.integers(0, 2**40), near_start=st.booleans())
def test_any_flipped_bit_is_found(tmp_path_factory, which, where, near_start):
    root = tmp_path_factory.mktemp("flip")
    Store(root, durable=False).put(KEY, an_entry(samples=40))
    path = files(root)[which]
    raw = bytearray(path.read_bytes())
    at = where % (400 if near_start else len(raw) * 8)
    raw[at // 8] ^= 1 << (at % 8)
    path.write_bytes(raw)
    messages = []
    store = Store(root, on_warning=messages.append)
    assert [d.key for d in store.verify().damaged] == [KEY]
    assert store.get(KEY) is None and len(messages) == 1 and KEY[:12] in messages[0]
    assert not store.has(KEY) and len(list((root / "quarantine").rglob("*.json"))) == 1
    store.put(KEY, an_entry(samples=40))
    assert_same(store.get(KEY), an_entry(samples=40))


@pytest.mark.parametrize("hurt", ["truncate header", "truncate view", "empty header", "remove view", "garbage header"])
def test_a_damaged_entry_counts_as_absent_and_is_set_aside(tmp_path, hurt):
    store = Store(tmp_path)
    store.put(KEY, an_entry())
    header, view = next(tmp_path.glob("*/*.json")), next(tmp_path.glob("*/*.audio.*"))
    target = header if "header" in hurt else view
    if hurt.startswith("truncate"):
        target.write_bytes(target.read_bytes()[:-7])
    elif hurt == "empty header":
        target.write_bytes(b"")
    elif hurt == "remove view":
        target.unlink()
    else:
        target.write_bytes(b'{"sha256": "x"}')
    assert not store.verify().whole
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert store.get(KEY) is None
    assert store.verify().whole and not store.has(KEY)
    store.put(KEY, an_entry())
    assert_same(store.get(KEY), an_entry())
    freed = store.gc()
    assert freed.removed == () and freed.entries == 1 and not any((tmp_path / "quarantine").iterdir())


def test_verify_can_mend(tmp_path):
    store = Store(tmp_path, on_warning=lambda text: None)
    for i in range(3):
        store.put(digest(i), an_entry(i))
    next(tmp_path.glob(f"*/{digest(1)}.latent.*")).write_bytes(b"nothing")
    assert [d.key for d in store.verify(mend=True).damaged] == [digest(1)]
    assert store.verify().whole and store.verify().entries == 2


def test_a_header_in_place_of_a_damaged_one_is_written_by_put(tmp_path):
    store = Store(tmp_path)
    store.put(KEY, an_entry(1))
    next(tmp_path.glob("*/*.json")).write_bytes(b"garbage")
    store.put(KEY, an_entry(2))
    assert_same(store.get(KEY), an_entry(2))


# -- a disk that refuses ------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        store = Store(disk / "store")
        store.put(KEY, an_entry())
        before = files(disk)
        with pytest.raises(RunError, match=r"could not write take .*disk.*No space left.*segue cache gc"):
            store.put(digest("big"), an_entry(samples=400_000))
        assert files(disk) == before and store.get(digest("big")) is None
        n = 0
        with pytest.raises(RunError, match="No space left"):
            while True:
                store.put(digest(["small", n]), an_entry(n, samples=700))
                n += 1
        report = store.verify()
        assert report.whole and report.entries == n + 1 and not report.leftovers
        assert not store.has(digest(["small", n]))
        store.gc(max_bytes=200_000)
        store.put(digest(["small", n]), an_entry(n, samples=700))
        assert_same(store.get(digest(["small", n])), an_entry(n, samples=700))


def test_a_file_size_limit_is_told_and_leaves_nothing_behind(tmp_path):
    store, before = Store(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    store.put(KEY, Entry(facts={"a": 1}))
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(RunError, match=r"could not write take .*File too large"):
            store.put(digest("big"), an_entry(samples=50_000))
        with pytest.raises(RunError, match="File too large"):
            store.put_view(KEY, an_entry(samples=50_000).audio)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert store.get(KEY).audio is None and store.verify().whole and not store.verify().leftovers
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_stopped_at_the_last_move_there_is_all_or_nothing(tmp_path, monkeypatch, error, moved):
    real = Path.replace

    def replace(self, target):
        if str(target).endswith(".json"):
            if moved:
                real(self, target)
            raise error
        return real(self, target)

    store = Store(tmp_path)
    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(RunError if isinstance(error, OSError) else KeyboardInterrupt):
        store.put(KEY, an_entry())
    monkeypatch.undo()
    if moved:
        assert_same(store.get(KEY), an_entry())
    else:
        assert files(tmp_path) == [] and store.get(KEY) is None
    assert store.verify().whole and not store.verify().leftovers


def test_a_folder_that_can_not_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "store")
    assert store.get(KEY) is None and not store.has(KEY) and list(store.keys()) == []
    with pytest.raises(RunError, match=r"could not write take .*file/store.*Not a directory"):
        store.put(KEY, an_entry())


def test_a_read_only_store_reads_and_says_why_it_does_not_write(tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        store = Store(disk / "store")
        store.put(KEY, an_entry())
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert_same(store.get(KEY), an_entry())
        store.put(KEY, an_entry())  # there already: nothing to write
        for refused in (lambda: store.put(digest("b"), an_entry()), lambda: store.gc(max_bytes=0)):
            with pytest.raises(RunError, match="Read-only file system"):
                refused()
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        next(disk.glob("store/*/*.audio.*")).write_bytes(b"")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.warns(RuntimeWarning, match="could not be moved away"):
            assert store.get(KEY) is None


# -- keeping in order ---------------------------------------------------------------------------------------------


def aged(tmp_path, ages):
    store, now = Store(tmp_path, durable=False), time.time()
    for i, age in enumerate(ages):
        store.put(digest(i), an_entry(i))
        os.utime(next(tmp_path.glob(f"*/{digest(i)}.json")), (now - age, now - age))
    return store


def test_list_shows_sizes_and_ages_most_recent_first(tmp_path):
    store = aged(tmp_path, [100, 300, 200])
    shown = store.list()
    assert [s.key for s in shown] == [digest(0), digest(2), digest(1)]
    assert sum(s.bytes for s in shown) == sum(p.stat().st_size for p in files(tmp_path)) == store.verify().bytes
    assert shown[0].views == ("audio", "latent") and abs(time.time() - shown[0].created) < 60


def test_using_an_entry_makes_it_recent(tmp_path):
    store = aged(tmp_path, [100, 300])
    store.get(digest(1))
    assert [s.key for s in store.list()] == [digest(1), digest(0)]


def test_gc_removes_the_longest_unused_until_it_fits(tmp_path):
    store = aged(tmp_path, [10, 40, 20, 30])
    one = store.list()[0].bytes
    report = store.gc(max_bytes=int(2.5 * one))
    assert report.removed == (digest(1), digest(3)) and report.entries == 2 and report.freed_bytes > 1.9 * one
    assert set(store.keys()) == {digest(0), digest(2)} and store.verify().whole and report.bytes == store.verify().bytes


def test_gc_by_age_spares_what_is_still_needed(tmp_path):
    store = aged(tmp_path, [10, 4000, 5000])
    report = store.gc(older_than_s=3600, max_bytes=0, keep={digest(2)})
    assert set(report.removed) == {digest(0), digest(1)}
    assert_same(store.get(digest(2)), an_entry(2))


def test_gc_without_limits_removes_only_leftovers(tmp_path):
    store = aged(tmp_path, [10, 10_000_000])
    dead = fork(lambda: None)
    ended(dead)
    folder = next(tmp_path.glob("*/*.json")).parent
    mine = folder / f".tmp-{_host()}-{os.getpid()}-{'0' * 16}"
    orphan, stale = folder / f"{folder.name}{'1' * 38}.audio.{'0' * 16}.safetensors", folder / f".tmp-{_host()}-{dead}-{'0' * 16}"
    for path in (mine, orphan, stale):
        path.write_bytes(b"12345")
    assert set(store.verify().leftovers) == {orphan, stale} and store.verify().whole
    report = store.gc()
    assert report.removed == () and report.freed_bytes == 10
    assert mine.exists() and not orphan.exists() and not stale.exists()  # a live writer's file stays


def _host():
    from segue.pipeline.atomic import _HOST

    return _HOST


def test_gc_and_verify_of_a_store_that_was_never_used(tmp_path):
    store = Store(tmp_path / "never")
    assert store.gc(max_bytes=0).entries == 0 and store.verify().entries == 0 and store.list() == ()
    assert not (tmp_path / "never").exists()


def test_reading_while_another_process_collects_never_warns(tmp_path):
    store = Store(tmp_path, durable=False)
    keys = [digest(i) for i in range(30)]

    def churn():
        for _ in range(6):
            for i, key in enumerate(keys):
                store.put(key, an_entry(i % 3))
            store.gc(max_bytes=0)

    pid = fork(churn)
    hits = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            for i, key in enumerate(keys):
                found = store.get(key)
                if found is not None:
                    hits += 1
                    assert_same(found, an_entry(i % 3))
    assert hits > 0 and store.verify().whole


def test_fsync_can_be_left_out(tmp_path, monkeypatch):
    calls = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(fd), real(fd))[1])
    Store(tmp_path / "a", durable=False).put(KEY, an_entry())
    assert calls == []
    Store(tmp_path / "b").put(KEY, an_entry())
    assert len(calls) >= 4  # two views, the header, the folder


def test_the_folder_follows_segue_home(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGUE_HOME", str(tmp_path / "home"))
    assert Store().root == tmp_path / "home" / "store"
    monkeypatch.delenv("SEGUE_HOME")
    assert Store().root == Path.home() / ".cache" / "segue" / "store"
