"""How much memory a policy needs to learn from an image."""

from __future__ import annotations

import torch
from torch.autograd.graph import saved_tensors_hooks

from lcd.agents.policy import EncoderPolicy

_FEW, _MORE = 4, 12


def bytes_per_image(policy: EncoderPolicy) -> int:
    """Bytes that the forward pass of one observation keeps for the backward pass.

    Parameters
    ----------
    policy
        On any device; its numbers are computed in the precision that it computes in.

    Returns
    -------
    int
        What two batches keep, divided by the images that one has more: what is kept once for a batch, such as weights
        in half precision, is not counted.
    """
    return (_kept(policy, _MORE) - _kept(policy, _FEW)) // (_MORE - _FEW)


def _kept(policy: EncoderPolicy, images: int) -> int:
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    shape = policy.observation_space.shape
    assert shape is not None
    observations = torch.zeros((images, *shape), dtype=torch.uint8, device=policy.device)
    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor):
        outcome = policy.heads(observations)  # which holds what is kept, so that no two tensors lie in one place
    del outcome
    return sum(sizes.values())
