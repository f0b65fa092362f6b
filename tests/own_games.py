"""Games as users write them, in a module that worker processes can import: good ones, odd ones and broken ones."""

import sys
import time

import gymnasium as gym
import numpy as np
from gymnasium import spaces

SIDE, CELL = 5, 12


class Grid(gym.Env):
    """Walk to the goal on a grid; the frame shows both, and `label_map` says where they are."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, limit=12, cell=CELL, render_mode=None):
        self.limit, self.cell, self.render_mode = limit, cell, render_mode
        self.observation_space = spaces.Box(0, 255, (SIDE * cell, SIDE * cell, 3), np.uint8)
        self.action_space = spaces.Discrete(4)

    def label_map(self):
        labels = np.zeros((SIDE, SIDE), np.int64)
        labels[tuple(self.goal)] = 2
        labels[tuple(self.me)] = 1
        return labels

    def picture(self):
        colours = np.array([(20, 20, 20), (250, 250, 250), (0, 200, 0)], np.uint8)
        return np.kron(colours[self.label_map()], np.ones((self.cell, self.cell, 1), np.uint8))

    def observe(self):
        return self.picture()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.me, self.goal = self.np_random.integers(0, SIDE, 2), self.np_random.integers(0, SIDE, 2)
        self.steps = 0
        return self.observe(), {}

    def move(self, action):
        return [(-1, 0), (1, 0), (0, -1), (0, 1)][int(action)]

    def step(self, action):
        self.me = np.clip(self.me + self.move(action), 0, SIDE - 1)
        self.steps += 1
        there = bool((self.me == self.goal).all())
        return self.observe(), float(there), there, self.steps >= self.limit, {}


class Hidden(Grid):
    """It has its labels under another name."""

    label_map = None

    def where(self):
        return Grid.label_map(self)

    def picture(self):
        colours = np.array([(20, 20, 20), (250, 250, 250), (0, 200, 0)], np.uint8)
        return np.kron(colours[self.where()], np.ones((self.cell, self.cell, 1), np.uint8))


class Meddling(Grid):
    """Reading its privileged view moves the goal."""

    def label_map(self):
        self.goal = (self.goal + 1) % SIDE
        return super().label_map()

    def picture(self):
        colours = np.array([(20, 20, 20), (250, 250, 250), (0, 200, 0)], np.uint8)
        return np.kron(colours[Grid.label_map(self)], np.ones((self.cell, self.cell, 1), np.uint8))


class Unpaid(Grid):
    """Nobody is ever paid."""

    def step(self, action):
        shown, _, *rest = super().step(action)
        return shown, 0.0, *rest


class Frozen(Grid):
    """Its label map shows what was there when the game was made."""

    def label_map(self):
        self.kept = getattr(self, "kept", None)
        if self.kept is None:
            self.kept = super().label_map()
        return self.kept.copy()

    def picture(self):
        colours = np.array([(20, 20, 20), (250, 250, 250), (0, 200, 0)], np.uint8)
        return np.kron(colours[super().label_map()], np.ones((self.cell, self.cell, 1), np.uint8))


class Alike(Grid):
    """All of its levels are one."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=0, options=options)


class Labelled(gym.Wrapper):
    """Adds a label map to `Hidden`."""

    def label_map(self):
        return self.unwrapped.where()


class Listed(Grid):
    """A list of its objects instead of a label map."""

    label_map = None

    def object_list(self):
        return np.array([[1, *self.me], [2, *self.goal]])

    def picture(self):
        colours = np.array([(20, 20, 20), (250, 250, 250), (0, 200, 0)], np.uint8)
        return np.kron(colours[Grid.label_map(self)], np.ones((self.cell, self.cell, 1), np.uint8))


class Dictionary(Grid):
    """An image among other entries, as numbers from 0 to 1, channels first."""

    def __init__(self, **settings):
        super().__init__(**settings)
        side = SIDE * self.cell
        image = spaces.Box(0, 1, (3, side, side), np.float32)
        self.observation_space = spaces.Dict(image=image, steps=spaces.Box(0, 1000, (1,), np.float32))

    def observe(self):
        return {"image": np.moveaxis(self.picture(), -1, 0) / np.float32(255), "steps": np.float32([self.steps])}


class Grey(Grid):
    """A grey image without channels, and actions of two parts."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.observation_space = spaces.Box(0, 255, (SIDE * self.cell, SIDE * self.cell), np.uint8)
        self.action_space = spaces.MultiDiscrete([2, 2])

    def observe(self):
        return self.picture().mean(axis=-1).astype(np.uint8)

    def move(self, action):
        return super().move(2 * action[0] + action[1])


class Steered(Grid):
    """Continuous actions."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def move(self, action):
        return np.sign(action).astype(int)


class Remembered(Grid):
    """A vector instead of a label map."""

    label_map = None

    def state_vector(self):
        return np.concatenate([self.me, self.goal]) / SIDE

    def picture(self):
        labels = np.zeros((SIDE, SIDE), np.int64)
        labels[tuple(self.goal)], labels[tuple(self.me)] = 2, 1
        colours = np.array([(20, 20, 20), (250, 250, 250), (0, 200, 0)], np.uint8)
        return np.kron(colours[labels], np.ones((self.cell, self.cell, 1), np.uint8))


class Broken(Grid):
    """Fails in its third step in the way that is asked for."""

    def __init__(self, how="crash", **settings):
        super().__init__(**settings)
        self.how = how

    def label_map(self):
        return super().label_map() + 63 * (self.how == "label" and self.steps == 3)

    def picture(self):
        return np.zeros((SIDE * self.cell, SIDE * self.cell, 3), np.uint8)

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.steps < 3:
            return observation, reward, False, False, info
        if self.how == "crash":
            raise ZeroDivisionError("the level has no floor")
        if self.how == "exit":
            sys.exit("bye")
        if self.how == "nan":
            return observation, float("nan"), terminated, truncated, info
        if self.how == "shape":
            return observation[:-1], reward, terminated, truncated, info
        if self.how == "four":
            return observation, reward, terminated, info
        if self.how == "endless":
            return observation, reward, False, False, info
        if self.how == "slow":
            time.sleep(0.5)
        return observation, reward, terminated, truncated, info


class Chance(Grid):
    """What happens does not depend on the seed alone."""

    def step(self, action):
        if np.random.default_rng().random() < 0.5:
            action = 0
        return super().step(action)


class Wordy(gym.Env):
    """No image anywhere."""

    observation_space = spaces.Box(-1, 1, (4,), np.float32)
    action_space = spaces.Discrete(2)


def make_grid(limit=12):
    return Grid(limit)


gym.register("OwnGrid-v0", entry_point="own_games:Grid")


class Odd(Grid):
    """Does in every step what no game should."""

    kept: list = []  # noqa: RUF012

    def __init__(self, how, **settings):
        super().__init__(**settings)
        self.how = how

    def step(self, action):
        if self.how == "hang" and self.steps == 3:
            time.sleep(60)
        if self.how == "slow":
            time.sleep(0.01)
        if self.how == "pause":
            time.sleep(1.2)
        if self.how == "print":
            print("step", self.steps)
        if self.how == "leak":
            self.kept.append(np.ones(2**17))
        if self.how == "die":
            import os

            os._exit(3)
        if self.how == "interrupt":
            raise KeyboardInterrupt
        if self.how == "spaces" and self.steps == 3:
            self.action_space = spaces.Discrete(2)
        return super().step(action)


def breakout():
    import ale_py

    gym.register_envs(ale_py)
    return gym.make("ALE/Breakout-v5")


class InPlace(Grid):
    """It changes the action that it is given."""

    def __init__(self):
        super().__init__()
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self.given = []

    def move(self, action):
        self.given.append(action.tolist())
        action *= 0.5
        return (0, 0)


class Seeding(Grid):
    """It seeds the generators that everybody draws from, and draws from them."""

    def reset(self, *, seed=None, options=None):
        np.random.seed(seed)  # noqa: NPY002
        return super().reset(seed=seed, options=options)

    def move(self, action):
        return super().move(np.random.randint(4))  # noqa: NPY002


class DrawsItsLevel(Grid):
    """Draws its levels, and seeds, from the generators that all code of a process draws from."""

    def __init__(self):
        np.random.seed(3)  # noqa: NPY002
        super().__init__()

    def reset(self, *, seed=None, options=None):
        found = super().reset(seed=0)
        self.me, self.goal = np.random.randint(0, SIDE, (2, 2))  # noqa: NPY002
        return self.picture(), found[1]

    def move(self, action):
        return super().move(np.random.randint(4))  # noqa: NPY002


class DrawsLate(Grid):
    """Seeds the common generators with its own seed, as most do, and draws from them late in an episode."""

    def __init__(self):
        super().__init__(limit=100)

    def reset(self, *, seed=None, options=None):
        np.random.seed(seed)  # noqa: NPY002
        return super().reset(seed=seed)

    def move(self, action):
        return super().move(np.random.randint(4) if self.steps > 40 else action)  # noqa: NPY002


class Unseeded(Grid):
    """The seed does not decide its levels."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=int(np.random.default_rng().integers(2**31)))


class Twisted(Grid):
    """Something about it is as no game should be, which `what` says."""

    def __init__(self, what, limit=12):
        super().__init__(limit)
        self.what = what
        if what == "exits":
            sys.exit(0)
        if what == "no space":
            del self.observation_space
        if what == "below":
            self.observation_space = spaces.Box(0, 1, (60, 60, 3), np.float32)
        if what in ("short", "large"):
            self.label_map = None

    def picture(self):
        large = np.kron(Grid.label_map(self), np.ones((self.cell, self.cell), int))
        return (100 * large[..., None].repeat(3, axis=2) + 20).astype(np.uint8)

    def observe(self):
        return {
            "fractions": self.picture() / 255,
            "beyond": self.picture().astype(np.int32) + 200,
            "below": (self.picture() / 255 - 1).astype(np.float32),
        }.get(self.what, self.picture())

    def label_map(self):
        if self.what == "fails":
            raise RuntimeError("there is no map")
        return np.zeros((61, 60), int) if self.what == "larger" else super().label_map()

    def state_vector(self):
        return np.array([1e300] if self.what == "large" else [0] * (1 + self.steps))

    def reset(self, *, seed=None, options=None):
        found = super().reset(seed=seed)
        return found[0] if self.what == "old" else found

    def step(self, action):
        frame, paid, *rest = super().step(action)
        return frame, {"huge": 1e300, "none": None}.get(self.what, paid), *rest

    def close(self):
        if self.what == "closing":
            raise RuntimeError("the window is gone")


gym.register("LimitedGrid-v0", entry_point="own_games:Grid", max_episode_steps=5)
