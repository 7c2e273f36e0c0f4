"""One contract for every store; here on a folder and in memory, on S3 in tests/integration."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cropmask.errors import Interrupted, Misconfigured, Rejected
from cropmask.store.doors import open_store
from cropmask.store.folder import FolderStore, confine
from cropmask.store.protocol import Absent, Store, StoreOptions
from cropmask.testing.store import MemoryStore

TEXT = "text/plain"


class StoreContract:
    """The laws of a store; a subclass gives the ``store`` fixture."""

    def test_put_then_get(self, store: Store) -> None:
        store.put("a/b.txt", b"one", TEXT)
        assert store.get("a/b.txt") == b"one"
        assert store.exists("a/b.txt")

    def test_put_replaces(self, store: Store) -> None:
        store.put("a", b"a long first text", TEXT)
        store.put("a", b"two", TEXT)
        assert store.get("a") == b"two"

    def test_put_takes_a_file_and_leaves_it(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "source.bin"
        source.write_bytes(bytes(range(256)) * 5000)
        store.put("deep/er/copy.bin", source, "application/octet-stream")
        assert store.get("deep/er/copy.bin") == source.read_bytes()

    def test_put_of_a_missing_file_leaves_the_object(self, store: Store, tmp_path: Path) -> None:
        store.put("a", b"old", TEXT)
        with pytest.raises(Misconfigured, match=r"gone\.bin"):
            store.put("a", tmp_path / "gone.bin", TEXT)
        assert store.get("a") == b"old"
        assert [entry.key for entry in store.list()] == ["a"]

    def test_empty_object(self, store: Store) -> None:
        store.put("empty", b"", TEXT)
        assert store.exists("empty")
        assert store.get("empty") == b""

    def test_find_says_what_a_listing_says(self, store: Store) -> None:
        store.put("a/b", b"123", TEXT)
        assert [store.find("a/b")] == list(store.list())

    def test_spans(self, store: Store) -> None:
        store.put("digits", b"0123456789", TEXT)
        assert store.get("digits", (0, 1)) == b"0"
        assert store.get("digits", (3, 4)) == b"3456"
        assert store.get("digits", (0, 10)) == store.get("digits")

    def test_absent(self, store: Store) -> None:
        store.put("a/b", b"", TEXT)
        for key in ("nothing", "a", "a/c", "a/b/c"):
            assert not store.exists(key)
            assert store.find(key) is None
            with pytest.raises(Absent, match="does not exist"):
                store.get(key)

    def test_put_if_absent_keeps_the_first(self, store: Store) -> None:
        first, second = b"first", b"second"
        assert store.put_if_absent("x/item.json", first, TEXT)
        assert not store.put_if_absent("x/item.json", second, TEXT)
        assert not store.put_if_absent("x/item.json", first, TEXT)
        assert store.get("x/item.json") == b"first"
        assert [entry.key for entry in store.list()] == ["x/item.json"]

    def test_put_if_absent_after_remove(self, store: Store) -> None:
        assert store.put_if_absent("x", b"1", TEXT)
        store.remove("x")
        assert store.put_if_absent("x", b"2", TEXT)

    def test_one_of_many_writers_wins(self, store: Store) -> None:
        writers = 8
        gate = threading.Barrier(writers)

        def write(number: int) -> bool:
            gate.wait()
            return store.put_if_absent("race/item.json", f"writer {number}".encode() * 999, TEXT)

        with ThreadPoolExecutor(writers) as pool:
            won = list(pool.map(write, range(writers)))
        assert sum(won) == 1
        assert store.get("race/item.json") == f"writer {won.index(True)}".encode() * 999

    def test_list(self, store: Store) -> None:
        for key in ("b/2", "a/1", "a/10/x", "ab"):
            store.put(key, key.encode(), TEXT)
        assert [entry.key for entry in store.list()] == ["a/1", "a/10/x", "ab", "b/2"]
        assert [entry.key for entry in store.list("a/")] == ["a/1", "a/10/x"]
        assert [entry.key for entry in store.list("a/1")] == ["a/1", "a/10/x"]
        assert [entry.key for entry in store.list("a/10/x")] == ["a/10/x"]
        assert [entry.key for entry in store.list("c/")] == []
        assert {entry.key: entry.size for entry in store.list("b")} == {"b/2": 3}

    def test_folders_are_one_level(self, store: Store) -> None:
        for key in ("a/b/c", "a/b/d/e", "a/f/g", "a/h", "i", "ab/j/k"):
            store.put(key, b"", TEXT)
        assert store.folders() == ("a", "ab")
        assert store.folders("a/") == ("b", "f")
        assert store.folders("a/b/") == ("d",)
        assert store.folders("nothing/") == ()

    def test_etag_tells_contents_apart(self, store: Store) -> None:
        store.put("a", b"1", TEXT)
        (before,) = store.list()
        (again,) = store.list()
        store.put("a", b"22", TEXT)
        (after,) = store.list()
        assert before == again
        assert before.etag != after.etag
        assert before.etag

    def test_remove(self, store: Store) -> None:
        store.put("a/b", b"", TEXT)
        store.remove("a/b")
        store.remove("a/b")
        store.remove("never/was")
        assert not store.exists("a/b")
        assert list(store.list()) == []

    def test_uri_ends_with_the_key(self, store: Store) -> None:
        assert store.uri("a/b.txt").endswith("/a/b.txt")

    @pytest.mark.parametrize(
        "key", ["", "/abs", "../up", "a/../b", "a//b", "a/", ".", "a\n", "a\\b"]
    )
    def test_keys_stay_below_the_root(self, store: Store, key: str) -> None:
        with pytest.raises(Rejected, match="not a key"):
            store.put(key, b"", TEXT)
        with pytest.raises(Rejected, match="not a key"):
            store.put_if_absent(key, b"", TEXT)
        with pytest.raises(Rejected, match="not a key"):
            store.get(key)
        with pytest.raises(Rejected, match="not a key"):
            store.remove(key)

    def test_check_writable_leaves_nothing(self, store: Store) -> None:
        store.check_writable()
        assert list(store.list()) == []


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()

    def test_read_only(self) -> None:
        store = MemoryStore(writable=False)
        for write in (
            store.check_writable,
            lambda: store.put("a", b"", TEXT),
            lambda: store.put_if_absent("a", b"", TEXT),
            lambda: store.remove("a"),
        ):
            with pytest.raises(Misconfigured, match="read-only"):
                write()
        assert not store.exists("a")


class TestFolder(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return FolderStore(tmp_path / "results")

    def test_what_is_no_file_is_not_there(self, store: FolderStore) -> None:
        store.put("a", b"1", TEXT)
        os.mkfifo(store.root / "pipe")
        (store.root / "null").symlink_to("/dev/null")
        (store.root / "loop").symlink_to("loop")
        (store.root / "dangling").symlink_to("nowhere")
        for key in ("pipe", "null", "loop", "dangling", "long" * 99):
            assert store.find(key) is None
            with pytest.raises(Absent):
                store.get(key)
        assert [entry.key for entry in store.list()] == ["a"]

    def test_a_confined_folder_ends_where_it_ends(self, store: FolderStore) -> None:
        outside = store.root.parent / "outside"
        outside.mkdir(parents=True)
        (outside / "secret").write_text("secret")
        store.put("a/b", b"1", TEXT)
        (store.root / "file").symlink_to(outside / "secret")
        (store.root / "folder").symlink_to(outside)
        (store.root / "within").symlink_to("a/b")
        confined = confine(store)
        for key in ("file", "folder/secret"):
            assert store.get(key) == b"secret"
            assert not confined.exists(key)
            with pytest.raises(Absent):
                confined.get(key)
        assert confined.get("within") == b"1"
        assert [entry.key for entry in confined.list()] == ["a/b", "within"]
        assert list(confined.list("folder/")) == []
        assert confined.folders("folder/") == ()
        assert confined.folders("a/") == ()

    def test_a_root_that_is_a_link_is_a_root(self, store: FolderStore) -> None:
        store.put("a/b", b"1", TEXT)
        link = store.root.with_name("link")
        link.symlink_to(store.root)
        confined = confine(FolderStore(link))
        assert confined.get("a/b") == b"1"
        assert confined.uri("a/b") == str(link / "a/b")
        assert [entry.key for entry in confined.list("a/")] == ["a/b"]

    def test_check_writable_removes_the_folders_it_made(self, tmp_path: Path) -> None:
        FolderStore(tmp_path / "not" / "yet").check_writable()
        assert list(tmp_path.iterdir()) == []

    def test_unfinished_files_are_no_keys(self, store: FolderStore) -> None:
        store.put("a/b", b"", TEXT)
        (store.root / "a" / ".0123.cropmask-part").write_bytes(b"half")
        assert [entry.key for entry in store.list()] == ["a/b"]

    def test_new_files_follow_the_umask(self, store: FolderStore) -> None:
        old = os.umask(0o027)
        try:
            store.put("a", b"", TEXT)
            store.put_if_absent("b", b"", TEXT)
        finally:
            os.umask(old)
        modes = {path.name: path.stat().st_mode & 0o777 for path in store.root.iterdir()}
        assert modes == {"a": 0o640, "b": 0o640}

    def test_a_key_is_never_seen_half_written(self, store: FolderStore) -> None:
        whole = {b"a" * 2_000_000, b"b" * 3_000_000}
        store.put("big", min(whole), TEXT)
        stop = threading.Event()
        seen = set()

        def read() -> None:
            while not stop.is_set():
                seen.add(store.get("big"))

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(10):
            for data in whole:
                store.put("big", data, TEXT)
        stop.set()
        reader.join()
        assert seen
        assert seen <= whole


@pytest.fixture
def below_a_file(tmp_path: Path) -> Path:
    """A folder that nobody can make, root included."""
    (tmp_path / "file").write_text("in the way")
    return tmp_path / "file" / "results"


def test_folder_below_a_file_is_misconfigured(below_a_file: Path) -> None:
    store = FolderStore(below_a_file)
    for write in (
        store.check_writable,
        lambda: store.put("a", b"", TEXT),
        lambda: store.put_if_absent("a", b"", TEXT),
    ):
        with pytest.raises(Misconfigured, match="choose another folder") as caught:
            write()
        assert "\n" not in str(caught.value)
    assert not store.exists("a")


def test_folder_that_the_kernel_keeps_is_misconfigured() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc")
    with pytest.raises(Misconfigured, match="/proc"):
        FolderStore(Path("/proc/cropmask")).check_writable()


@pytest.fixture
def as_nobody() -> Iterator[None]:
    """Permissions count: root gives them up for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def read_only() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_read_only_folder_is_misconfigured(read_only: Path, as_nobody: None) -> None:
    for folder in (read_only, read_only / "below"):
        with pytest.raises(Misconfigured, match="Permission denied"):
            FolderStore(folder).check_writable()
    assert list(read_only.iterdir()) == []


def test_unreadable_file_is_not_absent(read_only: Path) -> None:
    store = FolderStore(read_only)
    if os.geteuid() != 0:
        read_only.chmod(0o755)
    store.put("closed/a", b"1", TEXT)
    (read_only / "closed").chmod(0)
    try:
        if os.geteuid() == 0:
            os.seteuid(65534)
        with pytest.raises(Misconfigured, match="Permission denied"):
            store.exists("closed/a")
        with pytest.raises(Misconfigured, match="Permission denied"):
            store.get("closed/a")
        with pytest.raises(Misconfigured, match="Permission denied"):
            list(store.list())
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        (read_only / "closed").chmod(0o755)


def test_full_disk_is_interrupted_and_leaves_the_old_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path)
    store.put("a", b"old", TEXT)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for write in (
        lambda: store.put("a", b"new", TEXT),
        lambda: store.put_if_absent("b", b"", TEXT),
    ):
        with pytest.raises(Interrupted, match=r"No space left.*free some space") as caught:
            write()
        assert caught.value.reason == "disk full"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert store.get("a") == b"old"


_LIMITED = """
import resource, signal, sys
from pathlib import Path
from cropmask.errors import Interrupted
from cropmask.store.folder import FolderStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    FolderStore(Path(sys.argv[1])).put("a", bytes(300_000), "text/plain")
except Interrupted as error:
    sys.exit(str(error))
"""


def test_a_file_that_the_kernel_cuts_short_is_withdrawn(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_file_system_without_links_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(Misconfigured, match="without hard links"):
        FolderStore(tmp_path).check_writable()
    assert list(tmp_path.iterdir()) == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from cropmask.store.folder import FolderStore
real = os.fsync
def killed(descriptor):
    os.kill(os.getpid(), signal.SIGKILL)
os.fsync = killed
FolderStore(Path(sys.argv[1])).put_if_absent("x/item.json", b"{}", "text/plain")
"""


def test_killed_writer_leaves_no_key(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    store = FolderStore(tmp_path)
    assert list(store.list()) == []
    assert store.put_if_absent("x/item.json", b"{}", TEXT)


def test_open_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("output").uri("a") == str(tmp_path / "output" / "a")
    assert open_store(f"file://{tmp_path}").uri("a") == str(tmp_path / "a")
    assert open_store("s3://bucket/some/prefix/").uri("a/b") == "s3://bucket/some/prefix/a/b"
    assert open_store("s3://bucket", StoreOptions(acl="private")).uri("a") == "s3://bucket/a"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url", ["", "gs://bucket/x", "https://example.org/x", "s3://", "s3://BAD!/x", "a\0b"]
)
def test_open_store_refuses(url: str) -> None:
    with pytest.raises(Misconfigured, match="s3://bucket/prefix"):
        open_store(url)


def test_parts_of_writers_killed_long_ago_are_removed(tmp_path: Path) -> None:
    old, young = tmp_path / ".a.cropmask-part", tmp_path / ".b.cropmask-part"
    for part in (old, young):
        part.write_text("half")
    os.utime(old, (1e9, 1e9))
    FolderStore(tmp_path).put("c", b"whole", TEXT)
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, "c"]
