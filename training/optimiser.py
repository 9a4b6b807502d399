"""Adam over one flat vector of weights, and Muon (Jordan et al. 2024) for the square convolutions in it.

Muon turns the momentum of a convolution's weights, as a matrix (outputs, inputs * 9), into the nearest matrix whose singular values
are all one: rare directions learn as fast as common ones. Its updates are scaled to a root mean square of 0.2, about Adam's, so both
follow one schedule (Liu et al. 2025, section 2.2).
"""

from __future__ import annotations

import torch

# Newton-Schulz: a quintic whose iterates pull all singular values of a matrix of norm 1 to about 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
MOMENTUM = 0.95
RMS = 0.2
DECAY = 0.05  # of the weights, times the rate


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """(N, rows, columns), rows <= columns -> the same with singular values of about one."""
    a, b, c = COEFFICIENTS
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-20)
    x = x.bfloat16() if x.is_cuda else x
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.float()


def square(parameter: torch.Tensor) -> bool:
    """Weights (..., C, C, 3, 3), which Muon takes."""
    return parameter.dim() >= 4 and parameter.shape[-2:] == (3, 3) and parameter.shape[-3] == parameter.shape[-4]


class Optimiser:
    """`flat` holds all `parameters` one after the other. Every tensor stays where it is: a recorded step reads and writes them."""

    def __init__(self, flat: torch.Tensor, parameters: list[torch.Tensor], muon_rate: float):
        """`muon_rate`: Muon's rate relative to Adam's; 0: Adam for everything."""
        self.flat, self.muon_rate = flat, muon_rate
        self.first, self.second = torch.zeros_like(flat), torch.zeros_like(flat)
        self.count = torch.zeros((), device=flat.device)
        # Slices of `flat` as matrices, grouped by shape.
        self.groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
        offset = 0
        for parameter in parameters:
            if muon_rate and square(parameter):
                rows = parameter.shape[-4]
                shape = rows, parameter.shape[-3] * 9
                self.groups.setdefault(shape, []).append((offset, parameter.numel()))
            offset += parameter.numel()

    def state(self) -> list[torch.Tensor]:
        return [self.first, self.second, self.count]

    @torch.no_grad()
    def step(self, grad: torch.Tensor, rate: torch.Tensor, live: torch.Tensor) -> None:
        """`live` is 1, or 0 for a step to leave out (its gradient is all zeros then)."""
        self.count.add_(live)
        self.first.mul_(0.9).add_(grad, alpha=0.1)
        self.second.mul_(0.995).add_(grad * grad, alpha=0.005)
        correct1, correct2 = 1 - torch.pow(0.9, self.count + 1e-3), 1 - torch.pow(0.995, self.count + 1e-3)
        update = torch.sqrt(correct2) / correct1 * self.first / (torch.sqrt(self.second) + 1e-8)
        for shape, slices in self.groups.items():
            # Of Muon's weights `first` is the momentum: undo Adam's step on it and take Muon's.
            parts = []
            for offset, size in slices:
                momentum, g = self.first[offset : offset + size], grad[offset : offset + size]
                momentum.sub_(g, alpha=0.1).mul_(MOMENTUM / 0.9).add_(g, alpha=1 - MOMENTUM)
                parts.append((momentum * MOMENTUM + g * (1 - MOMENTUM)).view(-1, *shape))
            whole = orthogonalise(torch.cat(parts)) * (self.muon_rate * RMS * max(shape) ** 0.5)
            for (offset, size), part in zip(slices, whole.split([size // (shape[0] * shape[1]) for _, size in slices])):
                update[offset : offset + size] = part.reshape(-1) + DECAY * self.muon_rate * self.flat[offset : offset + size]
        self.flat.sub_(rate * live * update)
