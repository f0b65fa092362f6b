"""A teacher that would falsify what is learned from it is refused, in one sentence, before anything is trained."""

from __future__ import annotations

import shutil

import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from tiny import TINY
from toy_games import COLOURS, SIZE, ColourGame, ColourTeacher

from lcd.agents import PPO, DAgger, EncoderPolicy, TaughtVecEnv, load_policy, save_policy
from lcd.agents.teacher import distributions
from lcd.envs import ProcgenOptions
from lcd.envs.procgen.batch import ACTION_SPACE, observation_space
from lcd.experiments.given_teacher import GivenTeacher
from lcd.experiments.plan import plan_game
from lcd.experiments.run import teacher_of
from lcd.io.files import checksum
from lcd.pretraining.frames import collect_frames
from lcd.studies.planning import plan_diagnosis
from lcd.teachers.library import SHIPPED, shipped_teacher
from lcd.teachers.making import make_teacher
from lcd.teachers.recipes import RECIPES


class Says:
    """A teacher whose labels are a function of the right ones, from some call on."""

    def __init__(self, change, first=0):
        self.change, self.first, self.calls = change, first, 0

    def log_probabilities(self, observations):
        self.calls += 1
        right = ColourTeacher().log_probabilities(observations)
        return self.change(right) if self.calls > self.first else right


def students(game, teacher, **kwargs):
    return DAgger(env=TaughtVecEnv(game), teacher=teacher, n_steps=8, batch_size=16, device="cpu", seed=0, **kwargs)


WRONG = {
    "gives probabilities: log_probabilities must return their logarithms": torch.exp,
    r"sum to \S+ instead of 1\. For logits, return torch\.log_softmax": lambda labels: 3 * labels + 5,
    "are not finite": lambda labels: labels * float("nan"),
    r"are not finite in state 1 .*inf": lambda labels: labels.index_fill(0, torch.tensor([1]), float("inf")),
    r"of shape \(2, 5\) for 2 states in a game of 4 actions": lambda labels: torch.zeros(len(labels), 5),
    r"of shape \(2, 1\)": lambda labels: labels[:, :1],
    r"of shape \(1, 4\) for 2 states": lambda labels: labels[:1],
    r"of type torch\.int64": lambda labels: labels.long(),
    "a torch tensor, not a ndarray": lambda labels: labels.numpy(),
}


@pytest.mark.parametrize(("sentence", "change"), WRONG.items(), ids=range(len(WRONG)))
@pytest.mark.parametrize("mixing", [0.0, 1.0])
def test_labels_that_are_no_distributions_are_refused_before_the_first_step(sentence, change, mixing):
    game = ColourGame(2, "both")
    model = students(game, Says(change), mixing=mixing)
    before = [parameter.clone() for parameter in model.policy.parameters()]
    with pytest.raises(ValueError, match=f"^[^\n]*{sentence}[^\n]*$"):
        model.learn(64)
    assert not game.played
    assert all(torch.equal(*pair) for pair in zip(before, model.policy.parameters(), strict=True))


@pytest.mark.parametrize("mixing", [0.0, 1.0])
def test_labels_that_go_wrong_later_end_the_training_too(mixing):
    model = students(ColourGame(2, "both"), Says(torch.exp, first=3), mixing=mixing)
    with pytest.raises(ValueError, match="gives probabilities"):
        model.learn(10 * 16)
    assert model.num_timesteps < 10 * 16


def test_sure_teachers_and_those_in_half_precision_are_right():
    sure = ColourTeacher(1.0).log_probabilities(torch.ones(3, SIZE, SIZE, dtype=torch.uint8))
    assert sure.isinf().any()
    assert torch.equal(distributions(sure), sure)
    unsure = torch.randn(200, 15).log_softmax(dim=1)
    for kind in (torch.float64, torch.float16, torch.bfloat16):
        found = distributions(unsure.to(kind))
        assert found.dtype == torch.float32
        assert torch.allclose(found, unsure, atol=0.05)
    students(ColourGame(2, "both"), Says(lambda labels: labels.double())).learn(16)


def test_a_teacher_of_other_observations_or_actions_or_of_damaged_weights_is_refused():
    game = ColourGame(2, "both")
    labels = game.observation_space["semantic"]

    def made(space=labels, actions=COLOURS):
        return EncoderPolicy(space, spaces.Discrete(actions), lambda _: 0.0, "impoola:4")

    damaged = made()
    with torch.no_grad():
        damaged.value_net.bias[0] = float("inf")  # which no label depends on
    other = spaces.Box(0, 64, (SIZE, SIZE + 4), labels.dtype)
    for teacher, sentence in (
        (damaged, "EncoderPolicy, is damaged: value_net.bias holds weights that are not finite"),
        (made(other), r"takes observations of shape \(36, 40\), and the environment has \(36, 36\)"),
        (made(actions=15), "has 15 actions, and the environment has 4"),
    ):
        with pytest.raises(ValueError, match=sentence):
            students(game, teacher).learn(16)
    students(game, made()).learn(16)


def test_what_has_no_log_probabilities_is_no_teacher():
    game = ColourGame(2)
    model = PPO(env=game, n_steps=4, batch_size=8, device="cpu")
    with pytest.raises(ValueError, match="method log_probabilities, which PPO lacks: pass its policy"):
        students(game, model)
    theirs = ActorCriticCnnPolicy(spaces.Box(0, 255, (3, SIZE, SIZE), "uint8"), game.action_space, lambda _: 0.0)
    with pytest.raises(ValueError, match="which ActorCriticCnnPolicy lacks"):
        students(game, theirs)


def test_a_module_is_in_evaluation_mode_when_it_is_asked():
    class Dropping(torch.nn.Module):
        def log_probabilities(self, observations):
            assert not self.training
            return ColourTeacher().log_probabilities(observations)

    students(ColourGame(2, "both"), Dropping()).learn(32)


@pytest.fixture
def copied(tmp_path):
    """A copy of a shipped teacher with another card, or other weights."""

    def copy(name="maze", card=None, change=None):
        policy, was = load_policy(SHIPPED / f"{name}.safetensors")
        with torch.no_grad():
            for parameter in policy.parameters() if change else ():
                parameter.copy_(change(parameter))
        save_policy(policy, tmp_path / "teacher.safetensors", was if card is None else card)
        return tmp_path / "teacher.safetensors"

    return copy


def plan(teacher, mode="easy"):
    return plan_diagnosis("maze", TINY, distribution_mode=mode, teacher=teacher)


def test_a_diagnosis_refuses_a_teacher_of_weights_that_are_not_finite_or_overflow(copied):
    assert plan(copied()).given_teacher is not None
    with pytest.raises(ValueError, match=r"teacher\.safetensors.*not finite"):
        plan(copied(change=lambda parameter: parameter * float("nan")))
    with pytest.raises(ValueError, match="not finite, or beyond"):
        plan(copied(change=lambda parameter: parameter * 1e30))


@pytest.mark.parametrize(
    ("card", "sentence"),
    [
        ({"game": "heist"}, "made for heist, not for maze"),
        ({"game": "maze", "distribution_mode": "hard"}, "in the mode hard, not in the mode easy"),
        ({"run": {"game": "courier"}}, "made for courier, not for maze"),
        ({"run": {"game": "maze", "distribution_mode": "memory"}}, "in the mode memory"),
        ({"game": "maze", "run": {"game": "heist"}}, "made for heist"),
    ],
)
def test_a_diagnosis_refuses_a_teacher_whose_card_names_another_game_or_mode(copied, card, sentence):
    with pytest.raises(ValueError, match=sentence):
        plan(copied(card=card))


def test_a_card_may_leave_out_what_it_was_made_for(copied):
    for card in ({}, {"game": "maze"}, {"run": {"game": "maze"}}, {"game": "Maze"}):
        assert plan(copied(card=card)).given_teacher is not None


def test_the_mode_of_a_reference_teacher_is_known_wherever_its_file_lies(tmp_path):
    for mode, other in (("easy", "hard"), ("hard", "easy")):
        path = shutil.copy(shipped_teacher("coinrun", distribution_mode=mode)[0], tmp_path / "mine.safetensors")
        with pytest.raises(ValueError, match=f"for coinrun in the mode {mode}, not in the mode {other}"):
            plan_diagnosis("coinrun", TINY, distribution_mode=other, teacher=path)
        assert plan_diagnosis("coinrun", TINY, distribution_mode=mode, teacher=path).given_teacher is not None


def test_a_teacher_with_other_actions_is_refused(tmp_path):
    made = EncoderPolicy(observation_space("semantic"), spaces.Discrete(9), lambda _: 0.0, "small")
    save_policy(made, tmp_path / "few.safetensors", {})
    with pytest.raises(ValueError, match=r"choose among 15 actions"):
        plan(tmp_path / "few.safetensors")


def test_a_run_refuses_a_teacher_of_another_game_that_no_diagnosis_planned(copied):
    file = copied(card={"game": "heist"})
    runs = plan_game("maze", TINY, teacher=GivenTeacher.from_file(file)).cells
    (run,) = [run for run in runs if (run.learning, run.view, run.seed) == ("imitation", "semantic", 0)]
    assert run.teacher == checksum(file)
    with pytest.raises(ValueError, match="made for heist, not for maze"):
        teacher_of(run, file)


def test_no_teacher_goes_on_from_one_of_another_game_or_of_damaged_weights(copied, tmp_path):
    path, card = shipped_teacher("maze")
    with pytest.raises(ValueError, match="made for maze, not for heist"):
        make_teacher(ProcgenOptions("heist"), RECIPES["heist"], tmp_path / "new", begin=(path, card))
    broken = copied(change=lambda parameter: parameter + float("inf"))
    with pytest.raises(ValueError, match="not finite"):
        make_teacher(ProcgenOptions("maze"), RECIPES["maze"], tmp_path / "new", begin=(broken, card))
    assert not (tmp_path / "new").exists()


def test_an_agent_that_cannot_act_in_the_game_shows_no_frames():
    frames = spaces.Box(0, 255, (3, 84, 84), "uint8")
    for space, actions in ((frames, ACTION_SPACE), (observation_space("semantic"), spaces.Discrete(4))):
        agent = EncoderPolicy(space, actions, lambda _: 0.0, "small")
        with pytest.raises(ValueError, match="give one trained on that game"):
            collect_frames(ProcgenOptions("maze"), 8, policy=agent, num_envs=4)
