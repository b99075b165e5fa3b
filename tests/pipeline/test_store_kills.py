"""The store is whole after any kill."""

import os
import random
import signal
import sys
import time

import torch
from helpers.processes import ended, fork
from helpers.store_entries import an_entry, assert_same, files
from segue.pipeline.keys import digest
from segue.pipeline.store import Entry, Store


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
