"""One library, the same in every kind of bucket: of S3's, of Azure's and of Google's."""

import base64
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CalledProcessError

import obstore
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec.structs import replace
from obstore.store import AzureStore, GCSStore, S3Store

from imaging import address, care, credentials, freeing, naming, remote, structure
from imaging.chunk import chunk_id, compress
from imaging.credentials import Keys
from imaging.errors import BadImageError, IoError, RefusedError
from imaging.events import CaptureResult
from imaging.library import Library
from imaging.objects import Objects
from imaging.remotestore import RemoteStore
from imaging.stores import FOLDERS, ChunkStore, LocalStore
from imaging.writers import Writer
from tests.disks import blank
from tests.faults.world import (
    DISK_SIZE,
    Sample,
    capture_here,
    carry_out_here,
    holds_used_bytes,
    restore_here,
    verify_here,
)
from tests.servers import azure, gcs, s3
from tests.servers.azure import Azure
from tests.servers.gcs import Gcs
from tests.servers.s3 import S3

SERVERS = {"s3": "server", "az": "azure_server", "gs": "gcs_server"}
WRONG = "hunter2-hunter2"
VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket of some kind: how a person reaches it, and what is in it."""

    store: S3Store | AzureStore | GCSStore
    start: str
    """What its address begins with."""
    options: str
    keys: Keys
    wrong: Keys

    def url(self, folder: str = "office/images") -> str:
        return f"{self.start}/{folder}{self.options}"

    def objects(self) -> Objects:
        return Objects(address.parse(self.url()))

    def names(self) -> list[str]:
        return sorted(one["path"] for batch in obstore.list(self.store) for one in batch)


def install_or_skip(install: Callable[[], Path]) -> None:
    try:
        install()
    except CalledProcessError as error:
        pytest.skip(f"cannot be installed: {' '.join(map(str, error.cmd))} ended with status {error.returncode}")


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    install_or_skip(azure.install)
    with azure.serving(tmp_path_factory.mktemp("azure")) as running:
        yield running


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    install_or_skip(gcs.install)
    with gcs.serving(tmp_path_factory.mktemp("gcs")) as running:
        yield running


def of_s3(server: S3, name: str) -> Bucket:
    login = {"access_key_id": s3.KEY, "secret_access_key": s3.SECRET}
    return Bucket(
        store=server.bucket(name),
        start=f"s3://{name}",
        options=f"?endpoint={server.endpoint}&region={s3.REGION}",
        keys=Keys(values=login),
        wrong=Keys(values={**login, "secret_access_key": WRONG}),
    )


def of_azure(server: Azure, name: str) -> Bucket:
    wrong = base64.b64encode(WRONG.encode()).decode()
    return Bucket(
        store=server.container(name),
        start=f"az://{name}",
        options=f"?endpoint={server.endpoint}",
        keys=Keys(values=credentials.of_login(address.parse(f"az://{name}"), azure.ACCOUNT, azure.KEY)),
        wrong=Keys(values={"account_name": azure.ACCOUNT, "account_key": wrong}),
    )


def of_google(server: Gcs, name: str, folder: Path) -> Bucket:
    files = folder / "key.json", folder / "wrong.json"
    files[0].write_text(server.key_file())
    files[1].write_text(server.key_file(rsa.generate_private_key(public_exponent=65537, key_size=2048)))
    keys, wrong = (Keys(values={"service_account_key": credentials.read_key_file(file)}) for file in files)
    return Bucket(store=server.bucket(name), start=f"gs://{name}", options="", keys=keys, wrong=wrong)


@pytest.fixture(params=SERVERS)
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Bucket:
    """An empty one; its keys are set in the environment, as a person sets them."""
    monkeypatch.setenv("RESCUE_RETRY_SECONDS", "5")
    monkeypatch.setattr(credentials, "_kept", {})
    server = request.getfixturevalue(SERVERS[request.param])
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    name = f"c{abs(hash(request.node.nodeid))}"
    match server:
        case S3():
            return of_s3(server, name)
        case Azure():
            return of_azure(server, name)
    return of_google(server, name, tmp_path)


@pytest.fixture
def away(bucket: Bucket, sample: Sample, tmp_path: Path) -> Sample:
    """The sample's disk captured into the bucket."""
    folder = remote.folder_for(bucket.url())
    result = capture_here(sample.disk, folder, tmp_path / "capture").result
    assert isinstance(result, CaptureResult)
    return Sample(folder, result.image, sample.disk)


def forget(library: Path, bucket: Bucket) -> Path:
    """As another computer: nothing is known of the library but its address."""
    shutil.rmtree(library)
    return remote.folder_for(bucket.url())


def test_a_file_is_written_where_there_is_none_replaced_and_removed(bucket: Bucket) -> None:
    found = bucket.objects()
    assert found.get("images/a b/x", 9) is None
    assert (found.size("images/a b/x"), found.stamp("images/a b/x")) == (None, None)
    found.delete("images/a b/x")
    assert found.put("images/a b/x", b"first", new=True)
    assert not found.put("images/a b/x", b"second", new=True)
    assert found.get("images/a b/x", 9) == b"first"
    before = found.stamp("images/a b/x")
    assert found.put("images/a b/x", b"second")
    assert found.get("images/a b/x", 9) == b"second"
    assert found.size("images/a b/x") == 6
    assert before is not None
    assert before[0] == 5
    assert found.stamp("images/a b/x") not in (before, None)
    with pytest.raises(BadImageError, match="more than 5 bytes"):
        found.get("images/a b/x", 5)
    assert found.put("empty", b"", new=True)
    assert found.get("empty", 0) == b""
    assert bucket.names() == ["office/images/empty", "office/images/images/a b/x"]
    found.delete("empty")
    found.delete("empty")
    assert bucket.names() == ["office/images/images/a b/x"]


# Swift looks first and writes then: of its many all are written.
@pytest.mark.parametrize("bucket", ["az", "gs"], indirect=True)
def test_of_many_that_are_new_at_once_one_is_written(bucket: Bucket) -> None:
    found = bucket.objects()
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda i: found.put("manifest.json", b"%d" % i, new=True), range(8)))
    assert told.count(True) == 1
    assert found.get("manifest.json", 9) == b"%d" % told.index(True)


def test_files_are_listed_in_order_from_one_on(bucket: Bucket) -> None:
    found = bucket.objects()
    names = [f"chunks/{i:04x}/x" for i in (0, 1, 0x10, 0xA0, 0xFFFF)]
    for name in (*reversed(names), "library.json", "chunksx"):
        found.put(name, name.encode())
    obstore.put(bucket.store, "office/imagesx/chunks/0000/y", b"of somebody else")
    listed = list(found.list("chunks"))
    assert [(one.path, one.size) for one in listed] == [(name, len(name)) for name in names]
    assert all(abs(one.modified - time.time()) < 600 for one in listed)
    assert [one.path for one in found.list("chunks", after="chunks/0010")] == names[2:]
    assert [one.path for one in found.list("chunks", after=names[2])] == names[3:]
    assert list(found.list("images")) == []
    assert len(list(found.list(""))) == len(names) + 2


@pytest.mark.parametrize("bucket", ["gs"], indirect=True)
def test_more_files_than_one_answer_tells_of_are_all_listed(bucket: Bucket) -> None:
    found = bucket.objects()
    names = [f"chunks/{i:04x}/x" for i in range(1005)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: found.put(name, b"x"), names))
    assert [one.path for one in found.list("chunks")] == names
    assert [one.path for one in found.list("chunks", after=names[2])] == names[3:]


def test_a_large_chunk_comes_back_as_it_was(bucket: Bucket) -> None:
    data = os.urandom(9 << 20)
    found = bucket.objects()
    found.put("chunks/0000/large", data)
    assert found.get("chunks/0000/large", len(data)) == data


def test_a_folder_does_the_same_as_a_bucket(tmp_path: Path) -> None:
    does_what_a_store_does(LocalStore(tmp_path / "chunks"))


def test_every_store_does_the_same(bucket: Bucket) -> None:
    does_what_a_store_does(RemoteStore(bucket.objects()))


def does_what_a_store_does(store: ChunkStore) -> None:
    data = [os.urandom(1000) for _ in range(60)]
    names = [chunk_id(one) for one in data]
    frames = [compress(one) for one in data]
    assert not store.has(names[0])
    assert store.room_of(names[0]) == store.remove(names[0]) == 0
    for name, frame in zip(names, frames, strict=True):
        store.put(name, frame)
        store.put(name, frame)
    store.sync()
    with pytest.raises(BadImageError, match="missing"):
        store.get(chunk_id(b"no such chunk"), 1000)
    assert all(store.has(name) for name in names)
    for name in names:
        store.announce(name)
    for name, frame in zip(names, frames, strict=True):
        assert bytes(store.get(name, 1000)) == frame
        assert store.room_of(name) == len(frame)
    assert sorted(one.id for one in store.listed(0, FOLDERS)) == sorted(names)
    low, high = 0x4000, 0xC000
    inside = sorted(name for name in names if low <= int.from_bytes(name[:2], "big") < high)
    assert sorted(one.id for one in store.listed(low, high)) == inside
    assert sorted(one.id for one in store.listed(low, high, lambda name: name == inside[0])) == inside[1:]
    assert set(store.named_since(0)) == set(names)
    assert store.named_since(time.time() + 3600) == []
    assert not store.drop_unless_whole(names[0])
    store.put(names[1], compress(b"something else"))
    store.sync()
    assert store.drop_unless_whole(names[1])
    assert not store.has(names[1])
    store.put(names[3], compress(b"something else"))
    store.sync()
    assert list(store.strays()) == []
    assert store.set_aside(names[3])
    assert [path for path, _ in store.strays()] == [f"{names[3].hex()[:4]}/{names[3].hex()}.cacnk.bad"]
    assert store.remove(names[2]) == len(frames[2])
    assert not store.has(names[2])
    assert not store.lost


def test_a_bucket_that_is_not_there_is_told(bucket: Bucket) -> None:
    url = bucket.url().replace(bucket.start, f"{bucket.start}-none")
    with pytest.raises(IoError) as caught:
        remote.reach(address.parse(url), bucket.keys)
    assert caught.value.code == "no-bucket"
    with pytest.raises(IoError) as caught:
        Objects(address.parse(url), bucket.keys.values).put("library.json", b"{}", new=True)
    assert caught.value.code == "no-bucket"


def test_keys_that_were_typed_are_used_and_wrong_ones_refused_with_a_word(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    where = address.parse(bucket.url())
    with pytest.raises(RefusedError) as caught:
        remote.reach(where, bucket.wrong, writable=True)
    assert caught.value.code == "denied"
    assert not any(value in str(caught.value) for value in bucket.wrong.values.values())
    with pytest.raises(RefusedError) as caught:
        Objects(where, bucket.wrong.values).put("library.json", b"{}", new=True)
    assert caught.value.code == "denied"
    care.init(remote.reach(where, bucket.keys, writable=True))
    assert bucket.names() == ["office/images/library.json"]


def test_a_disk_is_captured_and_comes_back_elsewhere(bucket: Bucket, away: Sample, tmp_path: Path) -> None:
    assert f"office/images/images/{away.image_id}/manifest.json" in bucket.names()
    assert not [name for name in bucket.names() if "/writers/" in name or "origin" in name]
    library = forget(away.library, bucket)
    assert restore_here(away, blank(tmp_path / "new.img", DISK_SIZE), tmp_path / "restore").status == 0
    assert holds_used_bytes(away, tmp_path / "new.img")
    assert verify_here(away, tmp_path / "verify").status == 0
    care.rename(library, away.image_id, "Ours")
    assert [one.label for one in Library.open(forget(library, bucket)).images().images] == ["Ours"]
    before = [name for name in bucket.names() if name.endswith(".cacnk")]
    again = capture_here(away.disk, library, tmp_path / "again").result
    assert isinstance(again, CaptureResult)
    assert again.new == 0
    assert [name for name in bucket.names() if name.endswith(".cacnk")] == before
    assert structure.check(Library.open(library), lambda _, __: None, threading.Event()).whole
    for image in (again.image, away.image_id):
        assert carry_out_here(freeing.plan_delete(library, image), tmp_path / image).status == 0
    assert bucket.names() == ["office/images/library.json"]


def test_what_images_name_stays_where_a_store_is_gone_through_in_parts(
    bucket: Bucket, away: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "_MOST_HELD", 3)
    store = Library.open(away.library).store()
    store.put(chunk_id(b"nobody's"), compress(b"nobody's"))
    store.sync()
    found = structure.check(Library.open(away.library), lambda _, __: None, threading.Event())
    assert found.whole, found
    assert found.orphans is not None
    assert found.orphans.chunks == 1
    before = bucket.names()
    time.sleep(1.1)  # an object's time is whole seconds
    plan = replace(freeing.plan_prune(away.library, None, datetime.now(UTC))[0], grace=0)
    done = carry_out_here(plan, tmp_path / "prune")
    assert done.status == 0, done
    nobodys = chunk_id(b"nobody's").hex()
    assert set(before) - set(bucket.names()) == {f"office/images/chunks/{nobodys[:4]}/{nobodys}.cacnk"}
    assert verify_here(away, tmp_path / "verify").status == 0


def test_a_mark_of_another_computer_keeps_a_deletion_away(bucket: Bucket, away: Sample, tmp_path: Path) -> None:
    writer = Writer(Library.open(away.library), "20260101-000000-00000000")
    assert any("/writers/" in name for name in bucket.names())
    elsewhere = forget(away.library, bucket)
    try:
        done = carry_out_here(freeing.plan_delete(elsewhere, away.image_id), tmp_path / "job")
        assert (done.status, done.code) == (3, "library-busy")
    finally:
        writer.end()
    assert not any("/writers/" in name for name in bucket.names())
