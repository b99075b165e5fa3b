"""The store: bit-equal, shared by processes, kept in order."""

import os
import random
import time
import warnings
from pathlib import Path

import pytest
import torch
from helpers.processes import ended, fork
from helpers.store_entries import KEY, REPORT, an_entry, assert_same, bits, files
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.pipeline.context import Result
from segue.pipeline.keys import digest
from segue.pipeline.spec import Prompt
from segue.pipeline.store import Entry, Store
from segue.pipeline.take import Audio

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
