"""Stores on object storage: against a real S3 server over HTTP, and in memory where HTTP has no part."""

from __future__ import annotations

import json
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from commands import lcd
from object_service import Proxy, environment, forget_connections, s3_server, subprocess_environment
from pretending import carry_out, finish, some_runs

from lcd.experiments import remote_leases, remote_store
from lcd.experiments.execution import execute
from lcd.experiments.plan import Plan
from lcd.experiments.remote_store import RemoteStore, open_store
from lcd.experiments.run_archive import pack
from lcd.experiments.store import Store, StoreError
from lcd.io import object_storage
from lcd.io.object_storage import Objects, StorageError
from lcd.studies.finished_runs import read_diagnosis

pytestmark = pytest.mark.costly("lcd/cli/*.py", "lcd/experiments/*.py")

pytest.importorskip("s3fs")
pytest.importorskip("moto")
pytest_plugins = ["trained"]

SAID = b"<Error><Code>AccessDenied</Code><Message>It is not yours to read</Message></Error>"
DENIED = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    % (len(SAID), SAID)
)


@pytest.fixture(scope="module")
def server():
    with s3_server() as port:
        yield port


@pytest.fixture
def proxy(server, monkeypatch, tmp_path):
    """The way to the server; no request is repeated for long."""
    made = Proxy(server)
    for name, value in environment(made.port).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LCD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(object_storage, "PATIENCE", 0.0)
    forget_connections()
    yield made
    made.close()


@pytest.fixture
def bucket(proxy, tmp_path):
    """A bucket of this test, with nothing in it."""
    import s3fs

    name = f"bucket-{abs(hash(tmp_path)):x}"
    s3fs.S3FileSystem().mkdir(name)
    proxy.requests.clear()
    return name


@pytest.fixture
def url(bucket):
    return f"s3://{bucket}/some/runs"


@pytest.fixture
def in_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("LCD_CACHE", str(tmp_path / "cache"))
    return f"memory://{tmp_path.name}/runs"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def there(url: str) -> list[str]:
    return sorted(Objects(url).list())


def nothing_begun(store: Store) -> bool:
    return not any(path.name != ".lock" for path in (store.root / ".unfinished").glob("*"))


# ---------------------------------------------------------------------------------------------- runs there and back


def test_a_whole_plan_comes_back_to_the_bit_on_another_machine(trained, game_plan, url, tmp_path, tiny_preset):
    here, local = open_store(url), trained.store
    for run in game_plan.runs:
        here.take(run, contents(local.folder(run)))
    other = RemoteStore(url, tmp_path / "another-machine")
    for run in game_plan.runs:
        assert other.has(run)
        assert other.load(run).seconds == local.load(run).seconds
        assert contents(other.folder(run)) == contents(local.folder(run))
    assert read_diagnosis(game_plan, other).to_json() == read_diagnosis(game_plan, local).to_json()

    arguments = ["--preset", tiny_preset, "--train-teacher", "--workers", "1", "--threads", "1", "--out", "out"]
    ended = lcd("diagnose", game_plan.game, *arguments, "--store", url, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    told = ended.stdout + ended.stderr
    assert told.count("found in the store") == len(game_plan.runs)
    assert "started" not in told
    found = json.loads((tmp_path / "out" / "diagnosis.json").read_text())
    assert found == json.loads(json.dumps(read_diagnosis(game_plan, local, {"preset": tiny_preset}).to_json()))


def test_a_worker_process_uploads_its_run(trained, game_plan, url, tmp_path):
    """It is what a store in a folder has, but for what tells of the machine."""
    store, local = open_store(url), trained.store
    missing = next(run for run in game_plan.cells if run.learning == "imitation")
    for run in game_plan.runs:
        if run != missing:
            store.take(run, contents(local.folder(run)))
    events = []
    execute(Plan((game_plan,)), open_store(url), workers=1, threads=1, listener=events.append)
    assert [event.run for event in events if event.kind == "finished"] == [missing]
    assert there(url) == sorted(f"{run.name}.tar" for run in game_plan.runs)
    other = RemoteStore(url, tmp_path / "another-machine")
    other.load(missing)
    for name in ("episodes.csv", "policy.safetensors"):
        assert contents(other.folder(missing))[name] == contents(local.folder(missing))[name]
    assert nothing_begun(store)


def test_a_thousand_runs_are_looked_up_by_one_listing(url, proxy):
    """And one of the bucket, where nothing is below the prefix yet."""
    store, runs = open_store(url), some_runs(1000)
    store.check(runs)
    assert not any(store.has(run) or store.is_leased(run) for run in runs)
    assert len(proxy.requests) == 2
    assert all("list-type=2" in request for request in proxy.requests)


def test_a_store_goes_to_other_processes(url, tmp_path):
    store, run = RemoteStore(url, tmp_path / "mine"), some_runs(1)[0]
    finish(store, run)
    sent = pickle.loads(pickle.dumps(store))
    assert (str(sent), sent.root, sent.has(run)) == (url, tmp_path / "mine", True)
    assert str(store.absolute()) == url


def test_a_run_removed_from_the_bucket_is_made_again(in_memory):
    store, run = open_store(in_memory), some_runs(1)[0]
    finish(store, run, seconds=1.0)
    Objects(in_memory).remove(f"{run.name}.tar")
    again = open_store(in_memory)
    assert not again.has(run)
    assert carry_out(again, [run]) == [0]
    assert open_store(in_memory).has(run)


def test_what_an_own_cache_lost_or_damaged_is_fetched_again(in_memory):
    store, run = open_store(in_memory), some_runs(1)[0]
    finish(store, run)
    expected = contents(store.folder(run))
    (store.folder(run) / "policy.safetensors").write_bytes(b"damaged")
    store.load(run)
    assert contents(store.folder(run)) == expected


# -------------------------------------------------------------------------------------------- several at once, leases


def test_two_processes_with_folders_of_their_own_share_the_work(url, proxy, tmp_path):
    command = [sys.executable, str(Path(__file__).with_name("pretending.py")), url, "6", "0.3"]
    working = [
        subprocess.Popen(
            command, env=subprocess_environment(proxy.port, tmp_path / name), stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    made = [list(map(int, each.communicate(timeout=120)[0].split())) for each in working]
    assert [each.returncode for each in working] == [0, 0]
    assert sorted(made[0] + made[1]) == list(range(6))
    assert all(made), made
    assert there(url) == sorted(f"{run.name}.tar" for run in some_runs(6))


def test_a_network_that_is_away_keeps_nobody_from_leaving(url, proxy, monkeypatch):
    monkeypatch.setattr(object_storage, "PATIENCE", 600.0)
    monkeypatch.setattr(object_storage, "PAUSE", 0.1)
    monkeypatch.setattr(remote_leases, "RENEWAL_SECONDS", 0.5)
    with open_store(url).lease(some_runs(1)[0]) as held:
        assert held
        proxy.close()
        monkeypatch.setattr(
            proxy, "answer", b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        begun = time.monotonic()
    assert time.monotonic() - begun < 60


@pytest.fixture
def soon(monkeypatch):
    """Leases are renewed, listed and expire within a second."""
    monkeypatch.setattr(remote_leases, "RENEWAL_SECONDS", 0.05)
    monkeypatch.setattr(remote_leases, "EXPIRY_SECONDS", 0.4)
    monkeypatch.setattr(remote_store, "LIST_SECONDS", 0.0)


def test_a_lease_lasts_while_its_holder_lives_and_expires_after(in_memory, tmp_path, soon):
    run = some_runs(1)[0]
    one, two = (RemoteStore(in_memory, tmp_path / name) for name in ("one", "two"))
    with one.lease(run) as held:
        assert held
        begun = time.monotonic()
        while time.monotonic() < begun + 1.0:
            assert two.is_leased(run)
            time.sleep(0.05)
        with two.lease(run) as also:
            assert not also
        content = Objects(in_memory).read(f"{run.name}.lease", 1000)
    assert there(in_memory) == []

    Objects(in_memory).write(f"{run.name}.lease", content)  # as of a process that was killed
    begun = time.monotonic()
    while two.is_leased(run):
        assert time.monotonic() < begun + 10
        time.sleep(0.05)
    assert time.monotonic() - begun > 0.4
    with two.lease(run) as held:
        assert held


def test_a_lease_of_a_dead_process_of_the_same_folder_is_taken_over_at_once(in_memory, tmp_path):
    run, one = some_runs(1)[0], RemoteStore(in_memory, tmp_path / "one")
    with one.lease(run):
        content = Objects(in_memory).read(f"{run.name}.lease", 1000)
    Objects(in_memory).write(f"{run.name}.lease", content)
    again = RemoteStore(in_memory, tmp_path / "one")
    assert not again.is_leased(run)
    with again.lease(run):  # it is written anew at once: others may have seen that of the dead process for long
        assert Objects(in_memory).read(f"{run.name}.lease", 1000) != content
    Objects(in_memory).write(f"{run.name}.lease", content)
    assert carry_out(again, [run]) == [0]
    assert there(in_memory) == [f"{run.name}.tar"]


def test_who_lost_a_lease_does_not_take_it_back(in_memory, tmp_path, soon):
    """As a machine that slept."""
    run, one = some_runs(1)[0], RemoteStore(in_memory, tmp_path / "one")
    with one.lease(run):
        Objects(in_memory).write(f"{run.name}.lease", b'{"holder": "another"}')
        time.sleep(0.3)
        assert Objects(in_memory).read(f"{run.name}.lease", 1000) == b'{"holder": "another"}'
    assert there(in_memory) == [f"{run.name}.lease"]


def test_the_second_result_of_a_run_is_dropped(url, tmp_path):
    run = some_runs(1)[0]
    one, two = (RemoteStore(url, tmp_path / name) for name in ("one", "two"))
    with two.workspace(run):
        finish(one, run, seconds=1.0)
        finish(two, run, seconds=2.0)
    assert two.load(run).seconds == RemoteStore(url, tmp_path / "three").load(run).seconds == 1.0
    assert nothing_begun(two)


def test_of_four_that_create_the_same_object_one_does(url):
    objects, found = Objects(url), []
    threads = [threading.Thread(target=lambda: found.append(objects.create("x", b"1"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [False, False, False, True]


# ------------------------------------------------------------------------------------------------ interrupted uploads

KILLED = """
import sys
sys.path.insert(0, sys.argv[2])
from pretending import finish, some_runs
from lcd.experiments.remote_store import open_store
finish(open_store(sys.argv[1]), some_runs(1)[0], size=12 * 2**20)
"""


def unfinished_uploads(bucket):
    import s3fs

    found = s3fs.S3FileSystem().call_s3("list_multipart_uploads", Bucket=bucket)
    return found.get("Uploads", [])


def test_a_process_killed_in_the_middle_of_an_upload_leaves_nothing_there(url, bucket, proxy, tmp_path):
    proxy.slow, before = 0.05, proxy.sent
    environ = subprocess_environment(proxy.port, tmp_path / "cache")
    tests = str(Path(__file__).parent)
    with subprocess.Popen([sys.executable, "-c", KILLED, url, tests], env=environ) as child:
        deadline = time.monotonic() + 60
        while proxy.sent - before < 2 * 2**20 and time.monotonic() < deadline:
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert 2 * 2**20 <= proxy.sent - before < 12 * 2**20
    proxy.slow, run = 0.0, some_runs(1)[0]
    time.sleep(0.5)  # the server hears the end of the connection
    assert there(url) == []
    assert unfinished_uploads(bucket) == []
    assert not RemoteStore(url, tmp_path / "another-machine").has(run)

    again = open_store(url)  # the run was finished, and waits
    assert again.has(run)
    assert there(url) == [f"{run.name}.tar"]
    other = RemoteStore(url, tmp_path / "another-machine")
    other.load(run)
    assert contents(other.folder(run)) == contents(again.folder(run))
    again.clear_unfinished()
    assert nothing_begun(again)


def test_an_upload_that_is_cut_off_leaves_nothing_there_and_loses_no_run(url, bucket, proxy, tmp_path):
    store, run = open_store(url), some_runs(1)[0]
    assert not store.has(run)
    proxy.cut_after = 2**20
    with pytest.raises(
        StorageError, match=rf"^The run {run.name} is finished and waits in \S+, [^\n]*uploads it\."
    ) as e:
        finish(store, run, size=4 * 2**20)
    assert e.value.passing
    assert "\n" not in str(e.value)
    assert there(url) == []
    assert unfinished_uploads(bucket) == []
    proxy.cut_after = None
    again = open_store(url)
    assert carry_out(again, [run]) == []  # nothing is trained again
    assert there(url) == [f"{run.name}.tar"]
    other = RemoteStore(url, tmp_path / "another-machine")
    other.load(run)
    assert contents(other.folder(run)) == contents(again.folder(run))


def test_a_short_fault_of_the_network_is_waited_for(url, proxy, monkeypatch):
    monkeypatch.setattr(object_storage, "PATIENCE", 60.0)
    monkeypatch.setattr(object_storage, "PAUSE", 0.1)
    store, run = open_store(url), some_runs(1)[0]
    assert not store.has(run)
    proxy.cut_after = 2**20
    threading.Timer(4.0, lambda: setattr(proxy, "cut_after", None)).start()
    finish(store, run, size=4 * 2**20)
    assert there(url) == [f"{run.name}.tar"]


# ------------------------------------------------------------------------------------------------------ damaged runs


@pytest.mark.parametrize("damage", ["flipped", "cut short", "of another run"])
def test_a_damaged_object_is_named_with_the_remedy(damage, url, tmp_path):
    store, (run, another) = open_store(url), some_runs(2)
    finish(store, run)
    finish(store, another)
    archive = pack(store.folder(run))
    bit = archive.index((store.folder(run) / "policy.safetensors").read_bytes()) + 123
    changed = {
        "flipped": archive[:bit] + bytes([archive[bit] ^ 1]) + archive[bit + 1 :],
        "cut short": archive[: len(archive) // 2],
        "of another run": pack(store.folder(another)),
    }[damage]
    Objects(url).write(f"{run.name}.tar", changed)
    other = RemoteStore(url, tmp_path / "another-machine")
    remedy = re.escape(f"remove {url}/{run.name}.tar to train the run again.")
    with pytest.raises(StoreError, match=rf"^The run {run.name} is damaged \([^\n]*\): {remedy}$"):
        carry_out(other, [run])
    assert not other.folder(run).exists()
    assert nothing_begun(other)


# ---------------------------------------------------------------------------------------------- what cannot be used


def refused(url: str, tmp_path: Path) -> str:
    ended = lcd("diagnose", "maze", "--preset", "smoke", "--dry-run", "--store", url, cwd=tmp_path)
    calibrating = lcd("calibrate", "--dials", "noise", "--store", url, cwd=tmp_path)
    for each in (ended, calibrating):
        assert each.returncode == 2, each.stderr
        assert "Traceback" not in each.stderr
        assert each.stdout == ""
    assert ended.stderr == calibrating.stderr
    return " ".join(ended.stderr.split())


def test_a_bucket_that_is_not_there_is_one_sentence(proxy, tmp_path):
    assert "There is no bucket nowhere-at-all for s3://nowhere-at-all/runs: make it" in refused(
        "s3://nowhere-at-all/runs", tmp_path
    )


def test_denied_access_is_one_sentence(url, proxy, tmp_path):
    proxy.answer = DENIED
    assert f"Access to {url} is denied" in refused(url, tmp_path)


def test_missing_credentials_are_one_sentence(url, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    forget_connections()
    with pytest.raises(StorageError, match=r"^Access to s3://\S+ is denied \(.*\): check the credentials in your env"):
        open_store(url).check(some_runs(1))


def test_a_network_that_is_away_is_one_sentence(proxy, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    forget_connections()
    with pytest.raises(StorageError, match=r"^s3://b/runs cannot be reached \(.*\): check the network"):
        open_store("s3://b/runs").check(some_runs(1))


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch, tmp_path):
    import fsspec

    def missing(protocol, **options):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    said = refused("s3://bucket/runs", tmp_path)
    assert "pip install 'learning-challenge-diagnosticator[s3]'" in said


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///runs", "s3://b/p?versionId=1", "nothing://b/p", "s3://b/*", "s3://key:pass@b/p", "s3://b\n/"],
)
def test_what_is_no_url_of_object_storage_is_refused(url, tmp_path):
    with pytest.raises(ValueError, match=r"^[^\n]+\.$") as caught:
        open_store(url)
    assert "pass@" not in str(caught.value)


def test_a_url_as_a_path_is_refused_before_a_folder_of_that_name_is_made():
    for made in (lambda: open_store(Path("s3://bucket/runs")), lambda: Store(Path("s3://bucket/runs"))):
        with pytest.raises(ValueError, match="turned into a path: give it as a text"):
            made()
    with pytest.raises(ValueError, match=r"open it with lcd\.open_store"):
        Store("s3://bucket/runs")


def test_a_store_in_a_folder_imports_no_package_of_object_storage(tmp_path):
    code = (
        "import sys\nfrom lcd.experiments.remote_store import open_store\n"
        "open_store(sys.argv[1]).check([])\nassert not {'s3fs', 'aiobotocore', 'aiohttp'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
