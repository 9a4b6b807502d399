"""One network on its device: recorded training step, schedules, running average, checkpoint."""

from __future__ import annotations

import math
import os
import time

import torch

import model as modules
from checkpoints import build
from midi import Midi, MidiConfig, Rectify, rectify, rectify_gradient
from model import Config, Network
from objective import Example, Objective
from optimiser import Optimiser

PRESETS = {
    "nano": Config("nano", 4, 96, 10, 50),
    "nano-skip": Config("nano-skip", 4, 96, 10, 50, skip=2),
    "nano-rep": Config("nano-rep", 4, 96, 10, 50, rep=True),
    "nano-deep": Config("nano-deep", 4, 64, 19, 50, skip=2),
    "nano-full": Config("nano-full", 4, 48, 7, 12, unshuffle=1),
    "nano-still": Config("nano-still", 4, 96, 10, 0),
    "mini": Config("mini", 4, 64, 5, 34),
    "mini-skip": Config("mini-skip", 4, 64, 5, 34, skip=2),
    "nano-x2": Config("nano-x2", 2, 64, 6, 34),
    "nano-x2-skip": Config("nano-x2-skip", 2, 64, 6, 34, skip=2),
    "midi": MidiConfig("midi"),
    "midi-a": MidiConfig("midi-a"),  # the same network, for contests of options
    "midi-b": MidiConfig("midi-b"),
    "midi-short": MidiConfig("midi-short", blocks=5),
    "midi-x2": MidiConfig("midi-x2", scale=2, blocks=5),
}


def muon_rates(option: str) -> dict[str, float]:
    """--muon NAME:RATE,... as a table."""
    pairs = (part.partition(":") for part in option.split(",") if part)
    return {name: float(rate or 1) for name, _, rate in pairs}


class Trainer:
    def __init__(self, config: Config | MidiConfig, example: Example, seed: int, device: torch.device, args):
        torch.manual_seed(seed)
        self.config, self.example, self.args, self.steps = config, example, args, 0
        self.resumed, self.before = False, 0  # steps that earlier rounds took
        self.objective = Objective(config, example, args, device)
        self.net = build(config).to(device)
        if args.resume:
            checkpoint = modules.load_checkpoint(os.path.join(args.resume, config.name + ".pt"), device)
            self.net.load_state_dict(checkpoint["weights"])
            self.resumed, self.before = True, checkpoint["steps"]
        self.params = list(self.net.parameters())
        # All parameters are views of one vector, so Adam is a handful of kernels.
        self.flat = torch.cat([p.detach().flatten() for p in self.params])
        offset = 0
        for p in self.params:
            p.data = self.flat[offset : offset + p.numel()].view_as(p)
            offset += p.numel()
        self.optimiser = Optimiser(self.flat, self.params, muon_rates(args.muon).get(config.name, 0.0))
        self.average = self.flat.clone()
        self.net.slope = torch.zeros((), device=device)
        self.rate, self.quantise, self.keep = (torch.zeros((), device=device) for _ in range(3))
        self.loss_scale = torch.full((), 2.0**17 if device.type == "cuda" else 1.0, device=device)
        self.loss, self.skipped, self.score = (torch.zeros((), device=device) for _ in range(3))
        self.graph = None
        self.stream = torch.cuda.Stream() if device.type == "cuda" else None

    def step(self) -> None:
        residual = self.net(self.example.luma, self.example.chroma, self.quantise, self.example.dtype)
        loss = self.objective(residual)
        grads = torch.autograd.grad(loss * self.loss_scale, self.params)
        with torch.no_grad():
            grad = torch.cat([g.float().flatten() for g in grads])
            norm = torch.sqrt((grad * grad).sum()) / self.loss_scale
            good = torch.isfinite(norm)
            live = good.float()
            clip = torch.clamp(self.args.clip / norm, max=1.0) / self.loss_scale
            grad = torch.where(good, grad * clip, torch.zeros_like(grad))
            self.loss.copy_(loss.detach())
            self.skipped.add_(1 - live)
            self.score.mul_(0.995).add_(loss.detach() * 0.005)
            self.optimiser.step(grad, self.rate, live)
            self.average.add_((self.flat - self.average) * (1 - self.keep))
            if self.loss_scale.is_cuda:  # half precision: grow slowly, halve after an overflow
                factor = 1.0005 * live + 0.5 * (1 - live)
                self.loss_scale.copy_(torch.clamp(self.loss_scale * factor, 2.0**4, 2.0**22))

    def shared(self) -> list[torch.Tensor]:
        """What several processes average: weights, both moments, running average."""
        return [self.flat, self.optimiser.first, self.optimiser.second, self.average]

    def state(self) -> list[torch.Tensor]:
        return [*self.shared(), self.optimiser.count, self.loss_scale, self.skipped, self.loss, self.score]

    def record(self) -> None:
        """Record the step as a CUDA graph; the warm-up steps it needs are undone."""
        saved = [t.detach().clone() for t in self.state()]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.step()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step()
        torch.cuda.synchronize()
        begun = time.time()
        for _ in range(5):
            self.graph.replay()
        torch.cuda.synchronize()
        print(f"{self.config.name}: {(time.time() - begun) * 200:.2f} ms a step", flush=True)
        with torch.no_grad():
            for tensor, value in zip(self.state(), saved):
                tensor.copy_(value)

    def advance(self, progress: float) -> None:
        """One step; on CUDA on the network's own stream, so that small networks fill the device together."""
        if not self.stream:
            return self.step_at(progress)
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.step_at(progress)

    def step_at(self, progress: float) -> None:
        self.steps += 1
        warm = min(1.0, self.steps / self.args.warmup)
        self.rate.fill_(self.args.rate * warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))))
        leaky = 0.0 if progress >= self.args.leaky_until else self.args.leaky * (1 - progress / self.args.leaky_until)
        self.net.slope.fill_(leaky)
        self.quantise.fill_(1.0 if progress >= self.args.quantise_at else 0.0)
        # Late in training the rate is small and a longer average costs nothing.
        keep = self.args.keep if progress < 0.6 else self.args.keep_end
        self.keep.fill_(min(keep, (1 + self.steps) / (10 + self.steps)))
        self.objective.schedule(progress)
        if self.graph:
            self.graph.replay()
        else:
            self.step()

    def averaged(self) -> Network | Midi:
        net, offset = build(self.config).to(self.flat.device), 0
        net.slope = torch.zeros((), device=self.flat.device)
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(self.average[offset : offset + p.numel()].view_as(p))
                offset += p.numel()
        return net

    def save(self, folder: str) -> None:
        path = os.path.join(folder, self.config.name + ".pt")
        weights = {k: v.cpu() for k, v in self.averaged().state_dict().items()}
        torch.save({"config": self.config.to_dict(), "weights": weights, "steps": self.before + self.steps}, path + ".new")
        os.replace(path + ".new", path)  # a run that is cut off leaves the last whole one


def record(trainer: Trainer) -> None:
    """Record the step; without the compiled kernels, then without a graph, if this PyTorch cannot."""
    for attempt in ("compiled", "partly compiled", "plain"):
        try:
            trainer.record()
            return
        except Exception as error:
            print(f"{trainer.config.name}: recording with {attempt} kernels failed: {error!r}", flush=True)
            trainer.graph = None
            modules.Join.forward_kernel = staticmethod(modules.join_quantise)
            if attempt == "compiled":
                continue
            modules.Activation.forward_kernel = staticmethod(modules.clamp_quantise)
            modules.Activation.backward_kernel = staticmethod(modules.clamp_gradient)
            Rectify.forward_kernel, Rectify.backward_kernel = staticmethod(rectify), staticmethod(rectify_gradient)
