"""Teachers that were made elsewhere: models of Stable-Baselines3, and objects of a user's own modules."""

import base64
import io
import json
import pickle
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import own_games
import own_teachers
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from tiny import TINY
from torch import nn

import lcd
from lcd.agents import EndlessEpisode, as_teacher, evaluate, load_model
from lcd.envs import make_vec_env
from lcd.envs.family import game_options
from lcd.experiments.given_teacher import checksum_of, load_imported
from lcd.studies.finished_runs import _returns_of
from lcd.studies.planning import plan_diagnosis

GRID = "own_games:Grid"


class Frames(gym.Env):
    """As many frames of any shape as are asked for."""

    def __init__(self, shape=(36, 36, 3), actions=4):
        kind = (0, 255, shape, np.uint8) if len(shape) == 3 else (-1, 1, shape, np.float32)
        self.observation_space, self.action_space = spaces.Box(*kind), spaces.Discrete(actions)

    def reset(self, *, seed=None, options=None):
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, True, {}


def model_file(folder, algorithm=PPO, policy="CnnPolicy", shape=(36, 36, 3), actions=4, **settings):
    small = {DQN: {"buffer_size": 10}, PPO: {"n_steps": 8, "batch_size": 8}, A2C: {}}[algorithm]
    model = algorithm(policy, Frames(shape, actions), seed=0, device="cpu", **small, **settings)
    model.save(folder / "model.zip")
    return model, folder / "model.zip"


@pytest.mark.parametrize(
    ("algorithm", "policy", "shape"),
    [
        (PPO, "CnnPolicy", (36, 36, 3)),
        (PPO, "MlpPolicy", (5,)),
        (A2C, "MlpPolicy", (5,)),
        (DQN, "CnnPolicy", (36, 36, 4)),
        (DQN, "MlpPolicy", (5,)),
    ],
)
def test_a_model_of_stable_baselines3_teaches_what_it_does(tmp_path, algorithm, policy, shape):
    model, file = model_file(tmp_path, algorithm, policy, shape)
    teacher = load_model(file)
    observations = np.stack([model.observation_space.sample() for _ in range(7)])
    labels = teacher.log_probabilities(torch.as_tensor(observations))
    assert labels.exp().sum(dim=1).numpy() == pytest.approx(np.ones(7), abs=1e-5)
    assert np.array_equal(labels.argmax(dim=1).numpy(), model.predict(observations, deterministic=True)[0])
    if algorithm is PPO:
        wanted = model.policy.get_distribution(torch.as_tensor(observations)).distribution.logits
        assert torch.equal(labels, wanted)


def test_no_code_of_a_model_file_is_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return pytest.fail, ("run",)

    _, file = model_file(tmp_path)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(members["data"])
    for value in data.values():
        if isinstance(value, dict) and ":serialized:" in value:
            value[":serialized:"] = base64.b64encode(pickle.dumps(Attack())).decode()
    members["data"] = json.dumps(data).encode()
    write(file, members)
    load_model(file)  # which reads nothing of what is pickled there
    weights = io.BytesIO()
    torch.save({"attack": Attack()}, weights)
    write(file, members | {"policy.pth": weights.getvalue()})
    with pytest.raises(ValueError, match="does not load without running code"):
        load_model(file)


def write(file, members, packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile(file, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "damage", ["no zip", "half", "packed", "no policy", "no data", "other networks", "lists", "huge"]
)
def test_a_file_that_is_no_usual_model_is_one_clear_sentence(tmp_path, damage):
    settings = {"policy_kwargs": {"net_arch": [8]}} if damage == "other networks" else {}
    _, file = model_file(tmp_path, **settings)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = file.read_bytes()
    if damage == "no zip":
        file.write_bytes(b"zip")
    elif damage == "half":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "packed":
        write(file, members | {"data": b" " * 10**7 + members["data"]}, zipfile.ZIP_DEFLATED)
    elif damage == "no policy":
        write(file, {name: each for name, each in members.items() if name != "policy.pth"})
    elif damage == "no data":
        write(file, {name: each for name, each in members.items() if name != "data"})
    elif damage == "lists":
        write(file, members | {"data": b"[" * 100_000})
    elif damage == "huge":
        data = json.loads(members["data"])
        data["observation_space"]["_shape"] = [1024, 1024, 1024]
        write(file, members | {"data": json.dumps(data).encode()})
    with pytest.raises(ValueError) as caught:
        load_model(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def test_an_object_that_predicts_gets_frames_as_the_game_has_them():
    class Looks:
        def predict(self, observations, *, deterministic):
            assert deterministic
            self.shape = observations.shape
            return np.arange(len(observations)), None

    looks = Looks()
    labels = as_teacher(looks, 4).log_probabilities(torch.zeros(3, 1, 9, 8, dtype=torch.uint8))
    assert looks.shape == (3, 9, 8, 1)
    assert labels.argmax(dim=1).tolist() == [0, 1, 2]
    assert labels.exp().sum(dim=1).tolist() == pytest.approx([1, 1, 1])
    looks.observation_space = spaces.Box(0, 255, (1, 9, 8), np.uint8)
    as_teacher(looks, 4).log_probabilities(torch.zeros(3, 1, 9, 8, dtype=torch.uint8))
    assert looks.shape == (3, 1, 9, 8)


def test_a_teacher_is_evaluated_like_a_policy():
    env = make_vec_env(game_options(GRID, num_levels=20), 4, "semantic")
    found = evaluate(as_teacher(own_teachers.walks, 4), env, 3)
    assert found.returns.mean() > 0.9
    env.close()


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ("own_teachers:missing", "cannot be found"),
        ("no_such_module:teacher", "cannot be found"),
        ("own_teachers:fails", "no such weights"),
        ("own_teachers:nobody", "needs a method log_probabilities or predict"),
        ("own_teachers:GivesProbabilities", "gives probabilities"),
        ("own_teachers:PredictsTooMuch", "from 0 to 3"),
        ("own_teachers:Remembers", "would belong to other games"),
        ("own_teachers:SeesLargerFrames", r"takes observations of shape \(3, 64, 64\)"),
        ("own_teachers:Stumbles", "no label there"),
    ],
)
def test_a_wrong_teacher_never_trains_anybody(teacher, words):
    with pytest.raises(ValueError, match=words) as caught:
        plan_diagnosis(GRID, TINY, teacher=teacher, random=0.0, best=1.0)
    assert "\n" not in str(caught.value)


def test_an_imported_teacher_is_known_by_its_labels(monkeypatch):
    def planned():
        return plan_diagnosis(GRID, TINY, teacher="own_teachers:WalksToTheGoal", random=0.0, best=1.0)

    plan = planned()
    assert plan.teacher_run is None
    assert (plan.given_teacher.view, plan.given_teacher.name) == ("semantic", "own_teachers:WalksToTheGoal")
    assert plan == planned()
    assert all(run.needs == () for run in plan.cells)
    identity = plan.given_teacher.checksum
    load_imported(identity, plan.cells[0].options)
    with pytest.raises(ValueError, match="has changed since the run was planned"):
        load_imported(identity.replace("#", "#0"), plan.cells[0].options)
    with monkeypatch.context() as patched:
        patched.setattr("lcd.experiments.given_teacher.checksum", lambda content: "another source")
        assert planned().given_teacher.checksum != identity
    monkeypatch.setattr(own_teachers, "LABEL_OF_GOAL", 1)
    assert planned().given_teacher.checksum != identity


def test_weights_of_every_kind_belong_to_an_imported_teacher():
    network = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2))  # which counts its batches in a single number
    found = checksum_of("own_teachers:walks", network)
    network[0].num_batches_tracked += 1
    assert checksum_of("own_teachers:walks", network) != found


def test_an_imported_network_labels_as_it_was_trained_to():
    plans = [plan_diagnosis(GRID, TINY, teacher="own_teachers:Normalises", random=0.0, best=1.0) for _ in range(2)]
    assert plans[0] == plans[1]
    teacher = load_imported(plans[0].given_teacher.checksum, plans[0].cells[0].options)  # its weights are as planned
    assert not teacher.training


def test_a_teacher_of_images_from_0_to_1_gets_such_and_one_of_bytes_gets_bytes():
    bytes_, shape = torch.randint(0, 256, (2, 3, 36, 36), dtype=torch.uint8), (3, 36, 36)
    unit, whole = spaces.Box(0, 1, shape, np.float32), spaces.Box(0, 255, shape, np.uint8)
    seen = []

    class Predicts:
        observation_space = unit

        def predict(self, observations, deterministic):
            seen.append(observations)
            return np.zeros(len(observations), int), None

    as_teacher(Predicts(), 4).log_probabilities(bytes_)
    Predicts.observation_space = whole
    as_teacher(Predicts(), 4).log_probabilities(bytes_)
    assert np.allclose(255 * seen[0], bytes_.numpy())
    assert np.array_equal(seen[1], bytes_.numpy())
    policy = ActorCriticCnnPolicy(unit, spaces.Discrete(4), lambda _: 0.0, normalize_images=False)
    expected = policy.get_distribution(bytes_.float() / 255).distribution.logits
    assert torch.allclose(as_teacher(policy, 4).log_probabilities(bytes_), expected)


def test_a_teacher_on_frames_labels_the_same_drawing_in_both_cells(tmp_path):
    _, file = model_file(tmp_path, shape=(64, 64, 3), actions=15)
    plan = plan_diagnosis("bossfight", TINY, teacher=file, appearance=("monochrome",))
    taught = {run.view: run.options for run in plan.cells if run.learning == "imitation"}
    assert taught["semantic"] == taught["pixels"]


def test_a_model_that_sees_frames_teaches_both_views(tmp_path):
    side = own_games.SIDE * own_games.CELL
    _, file = model_file(tmp_path, shape=(side, side, 3))
    plan = plan_diagnosis(GRID, TINY, teacher=file, random=0.0, best=1.0)
    assert plan.given_teacher.view == "pixels"
    taught = [run for run in plan.cells if run.learning == "imitation"]
    assert {(run.view, run.teacher_view) for run in taught} == {("pixels", "pixels"), ("semantic", "pixels")}
    _, other = model_file(tmp_path, shape=(40, 40, 3))
    with pytest.raises(ValueError, match=r"must take the privileged view of shape .* or images of shape"):
        plan_diagnosis(GRID, TINY, teacher=other, random=0.0, best=1.0)


@pytest.mark.costly("envs/external/*.py")
def test_a_model_of_other_actions_is_named_so(tmp_path):
    model = PPO("MlpPolicy", "Pendulum-v1", n_steps=8, batch_size=8, device="cpu")
    model.save(tmp_path / "model.zip")
    with pytest.raises(ValueError, match=r"acts with Box actions, and a teacher chooses one of several"):
        load_model(tmp_path / "model.zip")


def test_a_teacher_that_is_given_as_an_object_is_refused_with_what_to_do(tmp_path):
    model, _ = model_file(tmp_path)
    with pytest.raises(ValueError, match=r"not as an object of PPO, which .*: save it, or name what makes it"):
        plan_diagnosis(GRID, TINY, teacher=model, random=0.0, best=1.0)


@pytest.mark.parametrize("ending", [(1.0,), (1.0, 2.0)])
def test_temperatures_at_which_a_teacher_never_ends_are_left_out(monkeypatch, ending):
    plan = plan_diagnosis(GRID, TINY, teacher="own_teachers:walks", random=0.0, best=1.0)
    run, used = replace(plan.cells[0], evaluation=replace(plan.cells[0].evaluation, inverse_temperatures=(1, 2, 4))), []

    def played(policy, env, episodes, seed, inverse_temperature=1.0):
        if inverse_temperature not in ending:
            raise EndlessEpisode("Episode 0 does not end")
        used.append(inverse_temperature)
        return SimpleNamespace(returns=np.array([inverse_temperature]))

    monkeypatch.setattr("lcd.agents.evaluate", played)
    _returns_of.cache_clear()
    assert _returns_of(plan.given_teacher, run) == (ending[-1], ending[-1])
    assert used == [*ending, ending[-1], ending[-1]]


@pytest.mark.costly("envs/external/*.py")
def test_an_imported_teacher_teaches_in_worker_processes(tmp_path):
    diagnosis = lcd.diagnose(GRID, "smoke", seeds=2, teacher="own_teachers:walks", store=tmp_path, workers=1, threads=1)
    assert diagnosis.teacher.source == "own_teachers:walks"
    assert diagnosis.teacher.unseen_return > 0.9
    assert diagnosis.normalisation.best == diagnosis.teacher.training_return  # no learner is as good
