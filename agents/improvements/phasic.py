"""PPO in two phases: the policy learns, and from time to time its encoder learns what the value has learned (PPG)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch.nn import functional

from lcd.agents.gradient import Statistics, accumulate_gradient
from lcd.agents.improvements.networks import PPOWithNetworks
from lcd.agents.parallel import single_threaded
from lcd.agents.policy import is_thread_safe
from lcd.agents.ppo import raise_if_diverged
from lcd.agents.rollout import ByteRolloutBuffer
from lcd.io.limits import real_number, whole_number

SHORT_PHASE = 4
"""Rollouts of a policy phase whose speed is measured."""


class RememberedSamples(NamedTuple):
    """Observations of past rollouts, with what the auxiliary phase teaches about them.

    Attributes
    ----------
    observations : torch.Tensor, shape (batch, ...)
    returns : torch.Tensor, shape (batch,)
        Targets of the value, of the time when they were observed.
    log_probabilities : torch.Tensor, shape (batch, actions)
        Of the policy before the phase.
    """

    observations: torch.Tensor
    returns: torch.Tensor
    log_probabilities: torch.Tensor


class PhasicPPO(PPOWithNetworks):
    """Phasic policy gradient, with one network (Cobbe et al., 2021, arXiv:2009.04416, section 3.6).

    In the policy phase the policy makes one pass over each rollout, and the gradient of the value ends at the features:
    the encoder learns from the policy alone. After `rollouts` of them, the auxiliary phase makes `auxiliary_epochs`
    passes over remembered observations and minimises ``½ (V(s) − V̂(s))² + β KL(π_old(·|s) ‖ π(·|s))``, whose gradient
    reaches all weights; it has an optimiser of its own, as the authors' code has.

    Parameters
    ----------
    rollouts
        Rollouts in a policy phase, N_π; 32 in the paper.
    auxiliary_epochs
        E_aux; 6 in the paper.
    clone_weight
        Weight β of the divergence from the policy before the phase; 1 in the paper.
    memory
        Largest number of observations that are remembered, equally many of each rollout, drawn at random. The paper
        remembers all, which are 131,072 of 64 × 64 steps, or 1.6 GB of Procgen's frames. The default takes 403 MB, and
        for rollouts of that length, in all passes together, as much computing as 1.5 passes over them. Checkpoints and
        saved models hold what is remembered.
    **kwargs
        As in `lcd.agents.PPO`; the encoder is trained, and ``n_epochs`` is not used: the paper's E_π is 1.

    Raises
    ------
    ValueError
        If the encoder is frozen, or an argument is impossible.
    """

    trains_encoder = "The auxiliary phase teaches the encoder"
    networks = ("auxiliary_optimizer",)
    scheduled = ("auxiliary_optimizer",)

    def __init__(
        self,
        *args: Any,
        rollouts: int = 32,
        auxiliary_epochs: int = 6,
        clone_weight: float = 1.0,
        memory: int = 2**15,
        **kwargs: Any,
    ) -> None:
        self.rollouts = whole_number("rollouts", rollouts, 1, 2**20)
        self.auxiliary_epochs = whole_number("auxiliary_epochs", auxiliary_epochs, 1, 2**20)
        self.clone_weight = real_number("clone_weight", clone_weight, least=0)
        self.memory = whole_number("memory", memory, self.rollouts, 2**31)
        self._remembered = 0
        self._rollouts_done = 0
        super().__init__(*args, **(kwargs | {"n_epochs": 1}))

    def _setup_model(self) -> None:
        super()._setup_model()
        self.policy.detaches_values = True
        self.auxiliary_optimizer = self.policy.optimizer_class(  # type: ignore[call-arg]
            self.policy.parameter_groups(), lr=self.lr_schedule(1.0), **self.policy.optimizer_kwargs
        )
        self._observations: torch.Tensor | None = None
        self._returns = torch.empty(0)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_observations", "_returns", "_remembered", "_rollouts_done"]

    @property
    def period(self) -> int:
        """Rollouts from one auxiliary phase to the next."""
        return self.rollouts

    def shorten(self, share: float) -> None:
        """Have fewer rollouts in a policy phase, and remember so much of each that the phase costs as much a step."""
        of_each = min(int(self.n_steps * self.n_envs / share), self.memory // self.rollouts)
        self.rollouts = min(self.rollouts, SHORT_PHASE)
        self.memory = self.rollouts * max(1, round(share * of_each))

    @property
    def remembered_of_each(self) -> int:
        """Number of observations of a rollout that are remembered."""
        return min(self.n_steps * self.n_envs, self.memory // self.rollouts)

    def train(self) -> None:
        """Make a policy phase's pass over the rollout just collected, and the auxiliary phase where it is due."""
        super().train()
        self._remember()
        if self._rollouts_done >= self.rollouts:
            self._auxiliary_phase()
            self._remembered = self._rollouts_done = 0

    def _remember(self) -> None:
        """Remember a part of the rollout."""
        buffer, count = self.rollout_buffer, self.remembered_of_each
        assert isinstance(buffer, ByteRolloutBuffer)
        rows = next(buffer.minibatch_rows(count))
        frames = buffer.frames(rows)
        if self._observations is None or len(self._observations) < self._remembered + count:
            self._make_room(frames)
        assert self._observations is not None
        place = slice(self._remembered, self._remembered + count)
        self._observations[place] = frames.cpu()
        self._returns[place] = buffer.columns()[-1][rows].cpu()
        self._remembered += count
        self._rollouts_done += 1

    def _make_room(self, frames: torch.Tensor) -> None:
        """Make room for what the rest of the policy phase adds, observations like some frames."""
        missing = max(1, self.rollouts - self._rollouts_done)
        held = self._remembered + missing * self.remembered_of_each
        observations, returns = torch.empty((held, *frames.shape[1:]), dtype=frames.dtype), torch.empty(held)
        if self._observations is not None:
            observations[: self._remembered] = self._observations[: self._remembered]
            returns[: self._remembered] = self._returns[: self._remembered]
        self._observations, self._returns = observations, returns

    def _auxiliary_phase(self) -> None:
        """Teach the encoder the value, and leave the policy as it is."""
        assert self._observations is not None
        observations, returns = self._observations[: self._remembered], self._returns[: self._remembered]
        history: list[dict[str, float]] = []
        self.policy.detaches_values = False
        try:
            with single_threaded() if is_thread_safe(self.policy) else nullcontext():
                before = self._log_probabilities(observations)
                for _ in range(self.auxiliary_epochs):
                    for rows in torch.randperm(len(returns)).split(self.batch_size):
                        columns = (column[rows].to(self.device) for column in (observations, returns, before))
                        history.append(self._auxiliary_step(RememberedSamples(*columns)))
        finally:
            self.policy.detaches_values = True
        for name in ("value_loss", "divergence"):
            self.logger.record(f"train/auxiliary_{name}", sum(each[name] for each in history) / len(history))

    def _log_probabilities(self, observations: torch.Tensor) -> torch.Tensor:
        """Of all actions by the present policy, shape (batch, actions), in parts."""
        size = self.part_size
        with torch.no_grad():
            return torch.cat(
                [self.policy.log_probabilities(part.to(self.device)).cpu() for part in observations.split(size)]
            )

    def auxiliary_loss(self, batch: RememberedSamples) -> tuple[torch.Tensor, Statistics]:
        """Loss of the auxiliary phase, a scalar, and scalars for the log."""
        log_probabilities, values = self.policy.heads(batch.observations)
        value_loss = functional.mse_loss(values.flatten(), batch.returns) / 2
        divergence = functional.kl_div(
            log_probabilities, batch.log_probabilities, reduction="batchmean", log_target=True
        )
        loss = value_loss + self.clone_weight * divergence
        return loss, {"loss": loss.detach(), "value_loss": value_loss.detach(), "divergence": divergence.detach()}

    def _auxiliary_step(self, batch: RememberedSamples) -> dict[str, float]:
        parameters = self.trained_parameters
        size = self.part_size
        statistics = accumulate_gradient(parameters, batch, size, self.auxiliary_loss)
        statistics["grad_norm"] = torch.nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
        numbers = {name: value.item() for name, value in statistics.items()}
        raise_if_diverged(numbers, self.num_timesteps)
        self.auxiliary_optimizer.step()
        return numbers

    def further_state(self) -> dict[str, Any]:
        """What is remembered, and the auxiliary phase's optimiser."""
        observations = None if self._observations is None else self._observations[: self._remembered].clone()
        return super().further_state() | {
            "observations": observations,
            "returns": self._returns[: self._remembered].clone(),
            "rollouts": self._rollouts_done,
        }

    def restore_further_state(self, state: Mapping[str, Any]) -> None:
        """Remember what was remembered."""
        super().restore_further_state(state)
        self._rollouts_done, self._remembered = int(state["rollouts"]), len(state["returns"])
        self._observations, self._returns = state["observations"], state["returns"]
