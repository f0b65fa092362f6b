"""Plans carried out by a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from alike import without_times
from tiny import GAME, TINY

from lcd.agents import save_backbone
from lcd.agents.encoders.convolutional import Small
from lcd.envs.family import policy_spaces
from lcd.experiments.execution import Event, RunFailed, execute
from lcd.experiments.executors import make_executor
from lcd.experiments.given_teacher import GivenTeacher
from lcd.experiments.plan import Plan, plan_game, with_encoder
from lcd.experiments.ray_tasks import MARKS, RayTasks
from lcd.experiments.resources import Resources
from lcd.experiments.store import LEASES, UNFINISHED, Store
from lcd.experiments.timing import measure_speeds
from lcd.studies.finished_runs import read_diagnosis

ray = pytest.importorskip("ray")
pytest_plugins = ["trained"]
pytestmark = pytest.mark.costly("lcd/experiments/*.py")

MEMORY = 100 * 2**20
"""Of a node's object store, in bytes; Ray takes a third of the machine's otherwise."""


@pytest.fixture
def cluster():
    """Two nodes with a core each; a third can be killed or added."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": MEMORY})
    yield made
    ray.shutdown()
    made.shutdown()


def add_node(cluster, **resources):
    node = cluster.add_node(num_cpus=1, object_store_memory=MEMORY, **resources)
    cluster.wait_for_nodes()
    return node


def files_without_times(folder: Path) -> dict[str, object]:
    """What a run's folder holds, but for what tells of the machine."""
    found: dict[str, object] = {path.name: path.read_bytes() for path in folder.iterdir()}
    del found["run.json"]
    found["progress.csv"] = (
        pd.read_csv(folder / "progress.csv").drop(columns=["time/fps", "time/time_elapsed"]).to_csv()
    )
    return found


def assert_equal(game_plan, store, expected):
    """The runs are those of one machine, to the bit, and so is the diagnosis."""
    for run in game_plan.runs:
        assert files_without_times(store.folder(run)) == files_without_times(expected.folder(run))
    found, wanted = (without_times(read_diagnosis(game_plan, each).to_json()) for each in (store, expected))
    assert found == wanted


def nothing_left(store):
    assert not list((store.root / UNFINISHED).glob("*"))
    assert not list((store.root / MARKS).iterdir())
    assert not list((store.root / LEASES).iterdir())


def test_a_cluster_of_two_nodes_of_which_one_is_killed_carries_out_a_plan(finished, game_plan, tmp_path, cluster):
    """On a shared disk: the run of the lost node is tried again on the other one."""
    victim, store = add_node(cluster), Store(tmp_path / "store")
    events: list[Event] = []

    def kill_the_second(event: Event) -> None:
        events.append(event)
        if event.kind == "finished" and victim in cluster.worker_nodes:
            assert executor.running
            cluster.remove_node(victim, allow_graceful=False)

    executor = make_executor(f"ray:{cluster.address}", store, game_plan.runs)
    assert executor.free == 2
    execute(Plan((game_plan,)), store, executor=executor, listener=kill_the_second)
    assert victim not in cluster.worker_nodes
    for kind in ("started", "finished"):
        assert sorted(e.run.name for e in events if e.kind == kind) == sorted(run.name for run in game_plan.runs)
    assert [event for event in events if event.kind == "progress"]
    assert_equal(game_plan, store, finished[0])
    nothing_left(store)


def test_runs_come_back_from_machines_that_do_not_see_the_store(finished, game_plan, tmp_path, cluster, monkeypatch):
    """Another root stands for another disk: the task looks for the driver's mark there and does not find it."""
    store = Store(tmp_path / "store")
    elsewhere = tmp_path / "elsewhere"
    executor = RayTasks(store, cluster.address)
    started = executor._task.options

    class Moved:
        def remote(self, job, store, *rest):
            return self.task.remote(job, Store(elsewhere), *rest)

        def __init__(self, **options):
            self.task = started(**options)

    monkeypatch.setattr(executor._task, "options", Moved)
    execute(Plan((game_plan,)), store, executor=executor)
    assert not elsewhere.exists()
    assert_equal(game_plan, store, finished[0])
    nothing_left(store)


def test_what_fails_is_told_and_an_interrupt_leaves_nothing_behind(copied, game_plan, tmp_path, cluster):
    run, other = [each for each in game_plan.cells if each.learning == "rl"][:2]
    for each in (run, other):
        shutil.rmtree(copied.folder(each))
    broken = replace(other, encoder=f"nature@{tmp_path / 'no.safetensors'}", encoder_checksum="0" * 64)
    plan = replace(game_plan, cells=tuple(broken if each == other else each for each in game_plan.cells if each != run))
    with pytest.raises(RunFailed, match=r"no\.safetensors"):
        execute(Plan((plan,)), copied, executor=f"ray:{cluster.address}")

    def interrupt(event: Event) -> None:
        if event.kind == "progress":
            raise KeyboardInterrupt

    steps = 1000 * run.steps  # so many that it cannot end before the interrupt
    endless = replace(run, steps=steps, evaluation=replace(run.evaluation, steps=(*run.evaluation.steps, steps)))
    plan = Plan((replace(game_plan, cells=(endless,)),))
    with pytest.raises(KeyboardInterrupt):
        execute(plan, copied, executor=f"ray:{cluster.address}", listener=interrupt)
    assert not copied.has(endless)
    nothing_left(copied)
    execute(Plan((game_plan,)), copied, executor=f"ray:{cluster.address}")
    assert copied.has(run)


def test_as_many_runs_share_a_gpu_as_are_told(tmp_path, cluster, game_plan):
    add_node(cluster, num_gpus=1)
    executor = RayTasks(Store(tmp_path), cluster.address, game_plan.runs, gpus=0.25, device="cuda")
    try:
        assert executor.free == 2  # its cores bound it
        assert executor.share.gpus == 0.25
    finally:
        executor.end()
    executor = RayTasks(Store(tmp_path), cluster.address, game_plan.runs, gpus=1, device="cuda")
    try:
        assert executor.free == 1
    finally:
        executor.end()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [({"address": "127.0.0.1:1"}, "There is no Ray cluster at 127.0.0.1:1"), ({"device": "cuda"}, "has no GPU")],
)
def test_what_is_not_there_is_one_sentence(tmp_path, settings, sentence, cluster):
    with pytest.raises(ValueError, match=sentence):
        RayTasks(Store(tmp_path), **{"address": cluster.address, **settings})


def test_relative_paths_hold_on_a_cluster_that_was_started_in_another_folder(
    copied, game_plan, cluster, tmp_path, monkeypatch
):
    """Of the store with a run's teacher, of a teacher that is given, and of an encoder's weights."""
    monkeypatch.chdir(tmp_path)
    store = Store(copied.root.relative_to(tmp_path))
    shutil.copy(store.teacher_file(game_plan.teacher_run), "teacher.safetensors")
    frames = policy_spaces(game_plan.teacher_run.options, "pixels")[0]
    save_backbone(Small(frames), Path("small.safetensors"), "small", {})
    imitation = next(run for run in game_plan.cells if run.learning == "imitation")
    shutil.rmtree(store.folder(imitation))
    given = plan_game(GAME, TINY, teacher=GivenTeacher.from_file(Path("teacher.safetensors")))
    taught = next(run for run in given.cells if run.learning == "imitation")
    pretrained = with_encoder(game_plan.cells[0], "small@small.safetensors")
    runs = (imitation, taught, pretrained)
    plan = Plan((game_plan, replace(given, cells=(taught, pretrained))))
    execute(plan, store, executor=f"ray:{cluster.address}")
    assert all(store.has(run) for run in runs)
    assert measure_speeds([pretrained], store, Resources(executor=f"ray:{cluster.address}")).rates
