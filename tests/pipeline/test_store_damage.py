"""The store is honest about damage, and clear about a disk that refuses."""

import resource
import subprocess
from pathlib import Path

import pytest
from helpers.store_entries import KEY, an_entry, assert_same, files, small_disk
from hypothesis import given, settings
from hypothesis import strategies as st
from segue.pipeline.errors import RunError
from segue.pipeline.keys import digest
from segue.pipeline.store import Entry, Store

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
