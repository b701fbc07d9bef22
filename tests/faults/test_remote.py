"""Libraries in a bucket and behind a web server: the same as in a folder, whatever the network does."""

import dataclasses
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import obstore
import pytest
from msgspec.structs import replace
from obstore.store import S3Store

from imaging import (
    address,
    care,
    certificates,
    circumstances,
    credentials,
    encryption,
    freeing,
    inventory,
    jobs,
    keyring,
    manifest,
    naming,
    orders,
    planner,
    presence,
    remote,
    structure,
    temporary,
    trust,
    vouching,
)
from imaging.address import ObjectAddress
from imaging.chunk import chunk_id, compress
from imaging.credentials import Keys
from imaging.errors import BadImageError, IoError, RefusedError, RescueError, UsageError
from imaging.events import CaptureResult
from imaging.imageplans import CopyImagesPlan, ExportFormat, ExportPlan
from imaging.jobs import JobState
from imaging.keyslots import LEAST
from imaging.library import Library
from imaging.objects import Objects
from imaging.remotestore import ChunkCache, RemoteStore
from imaging.run import spawn_worker
from imaging.signatures import State
from imaging.signingkeys import PrivateKey
from imaging.structure import Examined, Stock
from imaging.writers import Writer
from tests.command import Outcome
from tests.disks import MIB, blank
from tests.faults.killing import finish, start, wait_for_step
from tests.faults.world import (
    DISK_SIZE,
    Sample,
    capture_here,
    carry_out_here,
    holds_used_bytes,
    restore_here,
    told_of_processes,
    verify_here,
)
from tests.servers import s3, web
from tests.servers.s3 import KEY, S3, SECRET
from tests.servers.web import Web


@pytest.fixture
def let_in(server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RESCUE_RETRY_SECONDS", "60")


@pytest.fixture
def bucket(server: S3, let_in: None, request: pytest.FixtureRequest) -> S3Store:  # noqa: ARG001
    return server.bucket(f"b{abs(hash(request.node.nodeid))}")


def url_of(bucket: S3Store, folder: str = "office/images") -> str:
    return f"s3://{bucket.config['bucket']}/{folder}"


def keys(bucket: S3Store) -> list[str]:
    return sorted(one["path"] for batch in obstore.list(bucket) for one in batch)


@pytest.fixture
def away(bucket: S3Store, sample: Sample, tmp_path: Path) -> Sample:
    """The sample's disk captured into a bucket."""
    folder = remote.folder_for(url_of(bucket))
    result = capture_here(sample.disk, folder, tmp_path / "capture").result
    assert isinstance(result, CaptureResult)
    return Sample(folder, result.image, sample.disk)


def forget(library: Path) -> Path:
    """As another computer: nothing is known of the library but its address."""
    found = remote.address_of(library)
    assert found is not None
    shutil.rmtree(library)
    return remote.folder_for(found.url)


def test_a_bucket_holds_a_casync_store_and_gives_the_disk_back(bucket: S3Store, away: Sample, tmp_path: Path) -> None:
    names = keys(bucket)
    assert "office/images/library.json" in names
    assert f"office/images/images/{away.image_id}/manifest.json" in names
    assert not [name for name in names if "/writers/" in name or "origin" in name]
    forget(away.library)
    assert restore_here(away, blank(tmp_path / "new.img", DISK_SIZE), tmp_path / "restore").status == 0
    assert holds_used_bytes(away, tmp_path / "new.img")
    assert verify_here(away, tmp_path / "verify").status == 0
    assert f"office/images/images/{away.image_id}/notes.json" in keys(bucket)


def test_an_image_goes_from_a_bucket_into_a_single_file_and_back(bucket: S3Store, away: Sample, tmp_path: Path) -> None:
    forget(away.library)
    plan = ExportPlan(
        library=str(away.library),
        image=away.image_id,
        target=str(tmp_path / "pc.rescue"),
        format=ExportFormat.RESCUE,
        piece_size=5 * MIB,
    )
    assert carry_out_here(plan, tmp_path / "export").status == 0
    single = Sample(tmp_path / "pc.rescue.001", away.image_id, away.disk)
    assert restore_here(single, blank(tmp_path / "new.img", DISK_SIZE), tmp_path / "restore").status == 0
    assert holds_used_bytes(away, tmp_path / "new.img")
    back = CopyImagesPlan(library=str(single.library), target=str(remote.folder_for(url_of(bucket, "other"))))
    assert carry_out_here(back, tmp_path / "back").status == 0
    chunks = [name.removeprefix("other/") for name in keys(bucket) if name.startswith("other/chunks/")]
    assert chunks == [n.removeprefix("office/images/") for n in keys(bucket) if n.startswith("office/images/chunks/")]


def test_what_lies_in_the_bucket_and_in_the_cache_of_an_encrypted_library_is_sealed(
    bucket: S3Store, captured: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESCUE_CHUNK_CACHE", str(tmp_path / "cache"))
    library, _ = encryption.create(remote.folder_for(url_of(bucket)), "correct horse battery", cost=LEAST)
    result = capture_here(captured.disk, library.path, tmp_path / "capture").result
    assert isinstance(result, CaptureResult)
    forget(library.path)
    sample = Sample(library.path, result.image, captured.disk)
    for folder in ("first", "from the cache"):
        target = blank(tmp_path / f"{folder}.img", DISK_SIZE)
        assert restore_here(sample, target, tmp_path / folder).status == 0
        assert holds_used_bytes(sample, target)
    ids = {captured.index.id(i).hex() for i in range(len(captured.index))}
    stored = {key: bytes(obstore.get(bucket, key).bytes()) for key in keys(bucket) if not key.endswith("library.json")}
    cached = {str(path): path.read_bytes() for path in (tmp_path / "cache").rglob("*.cacnk")}
    assert cached
    for key, data in {**stored, **cached}.items():
        assert not any(chunk in key for chunk in ids)
        assert data.startswith(b"RSEALED") or key.endswith(".cacnk")
        assert not data.startswith(b"\x28\xb5\x2f\xfd")
    keyring.forget_all()


def test_a_second_capture_stores_nothing_new_and_a_deletion_frees_all(
    bucket: S3Store, away: Sample, tmp_path: Path
) -> None:
    before = [name for name in keys(bucket) if name.endswith(".cacnk")]
    again = capture_here(away.disk, away.library, tmp_path / "again").result
    assert isinstance(again, CaptureResult)
    assert again.new == 0
    assert [name for name in keys(bucket) if name.endswith(".cacnk")] == before
    library = forget(away.library)
    assert len(Library.open(library).images().images) == 2
    for image in (again.image, away.image_id):
        assert carry_out_here(freeing.plan_delete(library, image), tmp_path / image).status == 0
    assert keys(bucket) == ["office/images/library.json"]


def test_a_signature_in_a_bucket_is_seen_elsewhere_and_goes_with_its_image(
    bucket: S3Store, away: Sample, tmp_path: Path
) -> None:
    key = PrivateKey.new()
    trust.trust(key.public)
    elsewhere = Library.open(away.library)
    assert vouching.look(elsewhere, away.image_id).why_not
    vouching.sign(away.library, away.image_id, key)
    assert f"office/images/images/{away.image_id}/manifest.sig" in keys(bucket)
    library = forget(away.library)
    listed = Library.open(library)
    listed.images()
    assert vouching.of_images(listed, [away.image_id])[away.image_id].state is State.TRUSTED
    # Whoever can write there exchanges it: it is fetched again before anything is restored.
    name = f"office/images/images/{away.image_id}/manifest.sig"
    for data, words in ((bytes(1 << 20), "too long"), (b"{}", "version")):
        obstore.put(bucket, name, data)
        assert words in vouching.look(listed, away.image_id).why_not
        assert [image.id for image in Library.open(forget(library)).images().images] == [away.image_id]
    assert carry_out_here(freeing.plan_delete(library, away.image_id), tmp_path / "delete").status == 0
    assert keys(bucket) == ["office/images/library.json"]


def test_pruning_a_bucket_removes_what_no_image_names(bucket: S3Store, away: Sample, tmp_path: Path) -> None:
    store = Library.open(away.library).store()
    store.put(chunk_id(b"nobody's"), compress(b"nobody's"))
    store.sync()
    plan = replace(freeing.plan_prune(away.library, None, datetime.now(UTC))[0], grace=0)
    count = len(keys(bucket))
    time.sleep(1.1)  # an object's time is whole seconds
    done = carry_out_here(plan, tmp_path / "prune")
    assert done.status == 0, done
    assert len(keys(bucket)) == count - 1
    assert verify_here(away, tmp_path / "verify").status == 0


def test_files_that_are_far_too_long_are_damaged_and_keep_nobody_away(bucket: S3Store, away: Sample) -> None:
    for name in ("images/zz/manifest.json", "writers/zz.json"):
        obstore.put(bucket, f"office/images/{name}", bytes((16 << 20) + 1))
    library = Library.open(forget(away.library))
    for _ in range(2):
        found = library.images()
        assert [image.id for image in found.images] == [away.image_id]
        assert [(one.id, "more than" in one.problem) for one in found.damaged] == [("zz", True)]
    writer = Writer(library, library.new_id())
    writer.end()
    assert writer.distrust_since is not None
    assert "office/images/writers/zz.json" in keys(bucket)


def test_what_another_computer_has_stored_meanwhile_is_not_removed_by_a_copy_that_fails(
    bucket: S3Store, away: Sample
) -> None:
    before = keys(bucket)
    elsewhere = Library.open(forget(away.library))
    # It began when the image was not there: nothing of it is known here.
    assert elsewhere.begin(away.image_id)
    elsewhere.discard(away.image_id)
    assert keys(bucket) == before
    assert [image.id for image in elsewhere.images().images] == [away.image_id]


def test_a_manifest_whose_answer_was_lost_is_known_as_ones_own(bucket: S3Store, away: Sample) -> None:
    library = Library.open(away.library)
    library.commit(away.image_id, library.manifest(away.image_id))
    with pytest.raises(IoError, match="already"):
        another = dataclasses.replace(library.captured(away.image_id), label="another")
        library.commit(away.image_id, manifest.encode(another))
    assert f"office/images/images/{away.image_id}/manifest.json" in keys(bucket)


def test_one_image_is_not_stored_by_two_computers_at_once(
    bucket: S3Store, away: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Writer(Library.open(away.library), away.image_id)
    elsewhere = Library.open(forget(away.library))
    monkeypatch.setattr(temporary, "boot_id", lambda: "another start")
    with pytest.raises(RefusedError, match="is just being stored"):
        Writer(elsewhere, away.image_id)
    assert [name for name in keys(bucket) if "/writers/" in name] == [f"office/images/writers/{away.image_id}.json"]
    # One that was not renewed for long is nobody's any more.
    monkeypatch.setattr(presence, "STALE", 0.0)
    Writer(elsewhere, away.image_id).end()
    writer.end()


def test_an_order_names_a_bucket_and_who_asks(
    bucket: S3Store, away: Sample, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in server.environment():
        monkeypatch.delenv(name)
    words = f"""
version = 1
[login]
user = "{KEY}"
password = "{SECRET}"
[verify]
image = "newest"
library = "{url_of(bucket)}?endpoint={server.endpoint}"
"""
    found = circumstances.look(orders.parse(words.encode(), "x.toml"), inventory.machine())
    assert [image.id for image in found.images] == [away.image_id]
    with pytest.raises(RefusedError, match="does not let these credentials in"):
        circumstances.look(orders.parse(words.replace(SECRET, "x" * 9).encode(), "x.toml"), inventory.machine())


def test_a_server_that_lists_from_the_first_file_on_makes_no_chunk_nobodys(
    away: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = obstore.list

    def from_the_first(store: S3Store, folder: str | None, *, offset: str | None, chunk_size: int) -> object:
        asked.append(offset)
        return usual(store, folder, chunk_size=chunk_size)

    asked: list[str | None] = []
    monkeypatch.setattr(obstore, "list", from_the_first)
    monkeypatch.setattr(naming, "_MOST_HELD", 3)  # in parts, as a large library is gone through
    found = structure.check(Library.open(away.library), lambda _, __: None, threading.Event())
    assert any(asked), asked
    assert found.whole
    assert found.orphans == Stock(chunks=0, bytes=0)


def test_a_label_and_notes_are_seen_by_others(away: Sample, rescue: Callable[..., Outcome]) -> None:
    found = remote.address_of(away.library)
    assert found is not None
    rescue("rename", away.image_id, "Ours", "--library", found.url)
    forget(away.library)
    assert "Ours" in rescue("images", "--library", found.url).out
    rescue("rename", away.image_id, "Yours", "--library", found.url)
    assert "Yours" in rescue("images", "--library", found.url).out


def test_a_chunk_that_could_not_be_stored_is_told_however_late_its_thread_is(
    away: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Library.open(away.library).store()

    def fail(*_: object, **__: object) -> bool:
        time.sleep(0.2)
        raise IoError("the network is gone", code="network")

    monkeypatch.setattr(Objects, "put", fail)
    # The thread has ended the request, and not yet said so.
    monkeypatch.setattr(RemoteStore, "_gone", lambda *_: None)
    store.put(chunk_id(b"new"), compress(b"new"))
    with pytest.raises(IoError, match="the network is gone"):
        store.sync()


def test_wrong_credentials_are_refused_with_a_word(
    bucket: S3Store, monkeypatch: pytest.MonkeyPatch, rescue: Callable[..., Outcome]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    done = rescue("images", "--library", url_of(bucket), status=3)
    assert "does not let these credentials in" in done.err
    assert "hunter2" not in done.err


def test_no_secret_is_in_any_file_or_list_of_processes(
    bucket: S3Store, sample: Sample, state: Path, rescue: Callable[..., Outcome]
) -> None:
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    plan = planner.plan_capture([inventory.look(str(sample.disk))], remote.folder_for(url_of(bucket)), "", 3)
    job = start(plan)
    wait_for_step(job, f"Capturing {sample.disk.name}")
    assert not [line for line in told_of_processes().values() if secret in line and b"pytest" not in line]
    assert finish(job).state is JobState.DONE
    rescue("images", "--library", url_of(bucket), "--json")
    assert not [path for path in state.rglob("*") if path.is_file() and secret in path.read_bytes()]


@pytest.fixture
def no_usual_keys(bucket: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Nothing in the environment or in files, and nothing kept of an earlier test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setattr(credentials, "_kept", {})


TYPED = Keys(values={"access_key_id": s3.KEY, "secret_access_key": s3.SECRET})


def typed_address(server: S3, bucket: S3Store, folder: str = "office/images") -> ObjectAddress:
    """As it is known once server and region were typed."""
    return address.parse(f"{url_of(bucket, folder)}?endpoint={server.endpoint}&region={s3.REGION}")


@pytest.mark.usefixtures("no_usual_keys")
def test_keys_that_were_typed_reach_the_worker_and_stand_nowhere(
    server: S3, bucket: S3Store, sample: Sample, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One that is forked shows the environment of whoever forked it, as that was for an earlier test.
    monkeypatch.setattr(jobs, "spawn_worker", spawn_worker)
    secret, where = s3.SECRET.encode(), typed_address(server, bucket)
    assert not credentials.are_known(where)
    folder = remote.reach(where, TYPED, writable=True)
    assert credentials.are_known(where)
    job = start(planner.plan_capture([inventory.look(str(sample.disk))], folder))
    wait_for_step(job, f"Capturing {sample.disk.name}")
    assert not (job.folder / "credentials").exists()
    worker = Path("/proc", (job.folder / "lock").read_text(), "environ")
    shown = told_of_processes() | {path: said for path, said in told_of_processes("environ").items() if path == worker}
    assert worker in shown
    assert not [path for path, said in shown.items() if secret in said]
    assert finish(job).state is JobState.DONE
    assert not [path for path in state.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert secret.decode() not in repr(TYPED)
    told = credentials.needed([where])
    monkeypatch.setattr(credentials, "_kept", {})
    credentials.learn(told)
    assert [image.id for image in Library.open(remote.reach(where)).images().images]


def test_a_key_with_a_line_break_in_it_is_refused_before_anybody_is_asked() -> None:
    where = address.parse("s3://bucket?endpoint=http://127.0.0.1:9")
    for name in TYPED.values:
        with pytest.raises(RefusedError, match="cannot be printed") as error:
            Objects(where, {**TYPED.values, name: "hunter2\n"}).get("x", 1)
        assert "hunter2" not in str(error.value)


def test_a_token_of_the_environment_does_not_go_where_other_keys_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Message] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    monkeypatch.setattr(credentials, "_kept", {})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN"):
        monkeypatch.setenv(name, "of-another-server")
    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever).start()
        where = address.parse(f"s3://bucket?endpoint=http://127.0.0.1:{running.server_port}")
        assert "AWS_SESSION_TOKEN" in credentials.needed([where])["environment"]
        assert Objects(where, TYPED.values).get("x", 1) is None
        running.shutdown()
    assert [s3.KEY in str(headers["authorization"]) for headers in seen] == [True]
    assert "of-another-server" not in str(seen[0])
    credentials.keep(where, TYPED)
    assert not {"AWS_SESSION_TOKEN", "AWS_TOKEN"} & credentials.needed([where])["environment"].keys()


@pytest.mark.usefixtures("no_usual_keys")
def test_why_a_bucket_cannot_be_reached_is_told_in_words(
    server: S3, bucket: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESCUE_RETRY_SECONDS", "0")
    where = typed_address(server, bucket)

    def said(where: ObjectAddress, keys: Keys = TYPED, *, writable: bool = False) -> tuple[str, str]:
        with pytest.raises(RescueError) as caught:
            remote.reach(where, keys, writable=writable)
        assert s3.SECRET not in caught.value.message
        return caught.value.code, caught.value.message

    wrong = Keys(values={"access_key_id": s3.KEY, "secret_access_key": "hunter2"})
    assert said(where, wrong)[0] == "denied"
    assert credentials.kept(where) == credentials.NONE
    code, words = said(typed_address(server, bucket, "nothing/here"))
    assert (code, "no image library was found in s3://" in words) == ("not-a-library", True)
    other = address.parse(f"s3://not-there?endpoint={server.endpoint}")
    assert said(other) == ("no-bucket", f"{other.url}: there is no such bucket or container")
    for endpoint, wanted in (
        (server.endpoint.replace("http:", "https:"), "speaks no https"),
        ("http://nas.invalid:9000", "no computer called nas.invalid:9000 is known here"),
    ):
        code, words = said(address.parse(f"{url_of(bucket)}?endpoint={endpoint}"))
        assert (code, wanted in words) == ("network", True), words
    assert said(address.parse("https://127.0.0.1:9/x"), Keys(), writable=True)[0] == "read-only"


def test_the_usual_file_of_credentials_is_read(away: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    file.write_text(f"[nas]\naws_access_key_id = {s3.KEY}\naws_secret_access_key = {s3.SECRET}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_PROFILE", "nas")
    assert [image.id for image in Library.open(away.library).images().images] == [away.image_id]


def test_a_server_that_goes_away_and_comes_back_is_waited_for(
    away: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESCUE_RETRY_SECONDS", "60")
    proxies = _proxies_of(os.environ["AWS_ENDPOINT_URL"])
    for pid in proxies:
        os.kill(pid, signal.SIGSTOP)

    def come_back() -> None:
        time.sleep(3)
        for pid in proxies:
            os.kill(pid, signal.SIGCONT)

    later = threading.Thread(target=come_back)
    later.start()
    try:
        assert restore_here(away, blank(tmp_path / "new.img", DISK_SIZE), tmp_path / "restore").status == 0
    finally:
        later.join()
    assert holds_used_bytes(away, tmp_path / "new.img")


def _proxies_of(endpoint: str) -> list[int]:
    port = endpoint.rpartition(":")[2]
    listed = subprocess.run(["ss", "-tlnpH", f"sport = :{port}"], check=True, capture_output=True, text=True).stdout
    return [int(part.partition(",")[0]) for part in listed.split("pid=")[1:]]


def test_a_server_that_is_gone_ends_the_job_with_a_word(
    away: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = inventory.look(str(blank(tmp_path / "new.img", DISK_SIZE)))
    plan = planner.plan_restore(away.library, away.image, {away.disk.name: shown})
    monkeypatch.setenv("RESCUE_RETRY_SECONDS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3.free_ports(1)[0]}")
    done = carry_out_here(plan, tmp_path / "restore")
    assert (done.status, done.code) == (5, "network")
    assert "s3://" in done.message


def test_a_bucket_that_is_not_there_is_named(let_in: None, sample: Sample, tmp_path: Path) -> None:  # noqa: ARG001
    folder = remote.folder_for("s3://no-such-bucket/x")
    done = capture_here(sample.disk, folder, tmp_path / "job")
    assert done.status != 0
    assert "no such bucket" in done.message or "NoSuchBucket" in done.message


def test_a_bucket_is_gone_through_as_it_is_now_and_not_as_this_computer_knows_it(bucket: S3Store, away: Sample) -> None:
    def look() -> Examined:
        return structure.check(Library.open(away.library), lambda _, __: None, threading.Event())

    assert (look().whole, look().leftovers, look().orphans) == (True, (), Stock(chunks=0, bytes=0))
    obstore.put(bucket, "office/images/images/index.txt", f"{away.image_id}\n".encode())
    obstore.put(bucket, "office/images/images/cut-off/pc.img.caibx", b"x")
    assert look().leftovers == ("images/cut-off",)
    obstore.delete(bucket, f"office/images/images/{away.image_id}/pc.img.used")
    obstore.delete(bucket, f"office/images/chunks/{away.index.id(2).hex()[:4]}/{away.index.id(2).hex()}.cacnk")
    assert [(one.code, one.image) for one in look().findings] == [
        ("bad-image-file", away.image_id),
        ("missing-chunk", away.image_id),
    ]
    with pytest.raises(RefusedError, match="is an image library already"):
        care.init(away.library)
    made = care.init(remote.folder_for(url_of(bucket, "other")))
    assert Library.open(forget(made.path)).info.id == made.info.id
    assert made.where == url_of(bucket, "other")


def test_a_corrupt_chunk_in_a_bucket_is_found(bucket: S3Store, away: Sample, tmp_path: Path) -> None:
    name = max((n for n in keys(bucket) if n.endswith(".cacnk")), key=lambda n: obstore.head(bucket, n)["size"])
    data = bytearray(obstore.get(bucket, name).bytes())
    data[len(data) // 2] ^= 1
    obstore.put(bucket, name, bytes(data))
    done = verify_here(away, tmp_path / "verify")
    assert (done.status, done.code) == (4, "corrupt-chunk")


def test_a_chunk_that_came_damaged_once_is_left_where_it_is(
    bucket: S3Store, away: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys(bucket)
    store = Library.open(away.library).store()
    get, answers = Objects.get, [b"damaged on the way"]
    monkeypatch.setattr(Objects, "get", lambda *words: answers.pop() if answers else get(*words))
    for look in (store.set_aside, store.drop_unless_whole):
        assert not look(away.index.id(3))
        assert keys(bucket) == before
        answers.append(b"damaged on the way")


def test_a_cache_is_read_before_the_server_and_stays_within_its_size(
    away: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESCUE_CHUNK_CACHE", str(tmp_path / "cache"))
    assert restore_here(away, blank(tmp_path / "one.img", DISK_SIZE), tmp_path / "first").status == 0
    kept = list((tmp_path / "cache").glob("*/*.cacnk"))
    assert kept
    kept[0].write_bytes(b"damaged")
    monkeypatch.setattr(Objects, "size", lambda *_: pytest.fail("asked of the server"))
    assert restore_here(away, blank(tmp_path / "two.img", DISK_SIZE), tmp_path / "second").status == 0
    assert holds_used_bytes(away, tmp_path / "two.img")
    small = ChunkCache(tmp_path / "small", 5000)
    for number in range(20):
        data = os.urandom(900)
        small.put(chunk_id(data), compress(data))
        assert number < 3 or sum(p.stat().st_size for p in (tmp_path / "small").glob("*/*")) <= 6000


@pytest.fixture
def site(captured: Sample, tmp_path: Path) -> Iterator[Web]:
    root = tmp_path / "www"
    root.mkdir()
    (root / "images").symlink_to(captured.library)
    with web.serving(root, tmp_path / "nginx") as running:
        yield running


def test_a_web_server_gives_the_disk_back_and_takes_nothing(
    site: Web, captured: Sample, tmp_path: Path, rescue: Callable[..., Outcome]
) -> None:
    url = f"{site.url}/images"
    assert captured.image_id in rescue("images", "--library", url).out
    target = tmp_path / "new.img"
    rescue("restore", captured.image_id, target, "--library", url, "--yes", "--erase", "new.img")
    assert holds_used_bytes(captured, target)
    rescue("verify", captured.image_id, "--library", url)
    for words in (
        ["capture", captured.disk],
        ["delete", captured.image_id, "--delete", captured.image_id],
        ["rename", captured.image_id, "x"],
        ["prune"],
    ):
        assert "read only" in str(rescue(*words, "--library", url, status=3)), words


def test_a_cache_in_between_asks_the_origin_once(
    site: Web, captured: Sample, tmp_path: Path, rescue: Callable[..., Outcome], state: Path
) -> None:
    with web.caching(site, tmp_path / "cache") as near:
        for number in (1, 2):
            target = tmp_path / f"{number}.img"
            url = f"{near.url}/images"
            rescue("restore", captured.image_id, target, "--library", url, "--yes", "--erase", f"{number}.img")
            assert holds_used_bytes(captured, target)
            shutil.rmtree(state / "remote")  # the second is another computer
    chunks = [line for line in site.requests() if ".cacnk" in line]
    assert len(chunks) == len({line.split('"')[1] for line in chunks})


def test_a_site_without_an_index_is_told_and_a_list_of_names_will_do(
    site: Web, captured: Sample, tmp_path: Path, rescue: Callable[..., Outcome]
) -> None:
    library = tmp_path / "www/copy"
    shutil.copytree(captured.library, library)
    (library / "images/index.txt").write_text(f"{captured.image_id}\n../../etc\n\n")
    assert captured.image_id in rescue("images", "--library", f"{site.url}/copy").out
    assert "not an image library" in rescue("images", "--library", f"{site.url}/nothing", status=4).err


usual_context = ssl.create_default_context


def strict() -> ssl.SSLContext:
    """What `ssl.create_default_context` gives from Python 3.13 on."""
    context = usual_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


@contextmanager
def shaking_hands(folder: Path) -> Iterator[tuple[str, list[object]]]:
    """A server that shows a web server's certificate and no more: its address, and who came."""
    came: list[object] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "key.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, client = listener.accept()
                    came.append(client)
                    with connection, suppress(OSError), context.wrap_socket(connection, server_side=True):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}", came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_certificate_is_proved(
    captured: Sample, tmp_path: Path, rescue: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "www"
    root.mkdir()
    (root / "images").symlink_to(captured.library)
    monkeypatch.setenv("RESCUE_RETRY_SECONDS", "1")
    with web.serving(root, tmp_path / "good", tls=True) as good:
        unknown = rescue("images", "--library", f"{good.url}/images", status=3).err
        assert "certificate is not proved: nobody whom this computer knows vouches for it" in unknown
        monkeypatch.setenv("SSL_CERT_FILE", str(good.certificate))
        assert captured.image_id in rescue("images", "--library", f"{good.url}/images").out
        monkeypatch.delenv("SSL_CERT_FILE")
        # Asking again would prove no more, and somebody waits at a screen.
        with shaking_hands(good.folder) as (url, came), pytest.raises(RescueError) as caught:
            remote.reach(address.parse(f"{url}/images"))
        assert caught.value.code == "unknown-issuer"
        assert len(came) == 1
        assert good.certificate is not None
        certificates.trust(good.certificate)
        # The index of folders is not read by obstore, and Python wants more of certificates from 3.13 on.
        monkeypatch.setattr(ssl, "create_default_context", strict)
        found = Library.open(remote.reach(address.parse(f"{good.url}/images")))
        assert [image.id for image in found.images().images] == [captured.image_id]
        os.environ.pop("SSL_CERT_FILE")
        with pytest.raises(RescueError) as caught:
            found.images()
        assert caught.value.code == "certificate"
        certificates.trust(good.certificate)
        monkeypatch.delenv("SSL_CERT_FILE")
        for path, said in (
            (root / "images/library.json", "holds no certificate"),
            (tmp_path / "none", "cannot be read"),
        ):
            with pytest.raises(UsageError, match=said):
                certificates.trust(path)
    with web.serving(root, tmp_path / "old", tls=True, expired=True) as old:
        monkeypatch.setenv("SSL_CERT_FILE", str(old.certificate))
        expired = rescue("images", "--library", f"{old.url}/images", status=3).err
        assert "certificate is not proved: it has expired" in expired


def test_an_address_that_holds_a_password_is_refused() -> None:
    with pytest.raises(UsageError, match="no password"):
        address.parse("https://me:secret@host/images")
    for words in ("s3://", "s3://bucket/../x", "ftp://host/x", "s3://bucket/x?colour=red", "s3://b/x?endpoint=nas"):
        with pytest.raises(UsageError):
            address.parse(words)
    found = address.parse("S3://bucket/a/b/?region=eu-west-1&endpoint=https://nas:9000")
    assert found.url == "s3://bucket/a/b?endpoint=https%3A%2F%2Fnas%3A9000&region=eu-west-1"
    assert address.parse(found.url) == found


def test_no_mirror_lies_within_another(state: Path) -> None:
    words = ("s3://b", "s3://b/images", "s3://b/images/x", "s3://b?region=eu", "s3://b/region", "https://b:8/images")
    folders = [remote.folder_for(one) for one in words]
    assert all(folder.is_relative_to(state / "remote") for folder in folders)
    # A file of one library must not be taken for another's, least of all for what says where that one is.
    inside = [a for a in folders for b in folders if a is not b and a.is_relative_to(b)]
    assert inside == []
    found = [remote.address_of(folder) for folder in folders]
    assert [one.url for one in found if one is not None] == list(words)


def test_a_library_on_a_stick_cannot_send_anyone_to_an_address(sample: Sample) -> None:
    (sample.library / remote.ORIGIN).write_text('{"format": 1, "url": "http://127.0.0.1:1/x"}')
    assert remote.mirror_of(sample.library) is None
    assert [image.id for image in Library.open(sample.library).images().images] == [sample.image_id]


def test_what_is_not_in_utf_8_or_too_long_harms_nothing(site: Web, tmp_path: Path) -> None:
    root = tmp_path / "www/odd"
    (root / "images").mkdir(parents=True)
    (root / "images/index.txt").write_bytes(b"\xff\xfe\n" + b"a" * 5000 + b"\n.\n..\n")
    (root / "library.json").write_bytes(b"{" * 100)
    with pytest.raises((BadImageError, IoError)):
        Library.open(remote.folder_for(f"{site.url}/odd"))


def test_a_manifest_of_a_site_that_is_far_too_long_is_listed_as_damaged(
    site: Web, captured: Sample, tmp_path: Path
) -> None:
    library = tmp_path / "www/copy"
    shutil.copytree(captured.library, library)
    (library / "images/zz").mkdir()
    with (library / "images/zz/manifest.json").open("wb") as file:
        file.truncate(17 << 20)
    found = Library.open(remote.folder_for(f"{site.url}/copy")).images()
    assert [image.id for image in found.images] == [captured.image_id]
    assert [one.id for one in found.damaged] == ["zz"]
