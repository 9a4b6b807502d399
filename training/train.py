"""Train several networks at once on one device, bounded by the wall clock.

    python3 training/train.py --data .train --out OUT --seconds 420 --models nano,mini,nano-x2 [--resume DIR] [--seed 1]

All networks of one scale see the same batches, so their scores compare. On CUDA each network's whole step (forward through time,
backward, Adam, weight average) is one recorded graph in half precision with a dynamic loss scale. The learning rate falls along
a cosine of the elapsed time; `quantise` switches from 0 to 1 at --quantise-at of it. OUT gets <model>.pt (averaged weights) about
every minute, and log.json with losses and validation scores.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time

os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import torch
import torch.nn.functional as F

import data
import model as modules
from model import Config, Network

STARTED = time.time()
# Mean residual (of 1.0) at which a crop counts half as much as a flat one. At 0.008 (rounds 1 and 2) textured crops counted a third of
# smooth ones: +2.3 dB on soft photographs but only +1.0 on Vid4, and x2 at low bit rates fell behind bicubic.
WEIGHT_FLOOR = 0.05

PRESETS = {
    "nano": Config("nano", 4, 96, 10, 48),
    "nano-skip": Config("nano-skip", 4, 96, 10, 48, skip=2),
    "nano-rep": Config("nano-rep", 4, 96, 10, 48, rep=True),
    "nano-deep": Config("nano-deep", 4, 64, 19, 48, skip=2),
    "nano-full": Config("nano-full", 4, 48, 7, 12, unshuffle=1),
    "nano-still": Config("nano-still", 4, 96, 10, 0),
    "mini": Config("mini", 4, 64, 5, 32),
    "mini-skip": Config("mini-skip", 4, 64, 5, 32, skip=2),
    "nano-x2": Config("nano-x2", 2, 64, 6, 32),
    "nano-x2-skip": Config("nano-x2-skip", 2, 64, 6, 32, skip=2),
}


def bicubic_up(planes: torch.Tensor, scale: int) -> torch.Tensor:
    """(..., H, W) in [0, 1] -> (..., sH, sW), Keys' cubic, replicated border."""
    weights = torch.from_numpy(modules.base_filter(1, scale)).to(planes.device)
    flat = planes.reshape(-1, 1, *planes.shape[-2:])
    up = F.pixel_shuffle(F.conv2d(F.pad(flat, (2, 2, 2, 2), mode="replicate"), weights), scale)
    return up.reshape(*planes.shape[:-2], *up.shape[-2:])


def fold(config: Config, luma: torch.Tensor, chroma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Planes in [0, 1] (N, T, H, W), (N, T, 2, H/2, W/2) -> network inputs."""
    folded = modules.unshuffle_planes(luma.unsqueeze(2), config.unshuffle)
    if config.unshuffle == 1:
        chroma = chroma.repeat_interleave(2, -1).repeat_interleave(2, -2)
    return folded, chroma


class Example:
    """What the networks of one (scale, unshuffle) read: folded inputs and the residual over bicubic they should give."""

    def __init__(self, config: Config, batch: data.Batch, dtype: torch.dtype):
        self.config, self.batch, self.dtype, self.ready = config, batch, dtype, False

    def update(self) -> None:
        b, factor = self.batch, self.config.unshuffle * self.config.scale
        with torch.no_grad():
            luma, chroma = b.luma.float() / 255, b.chroma.float() / 255
            y = (b.hr_luma.float() / 255 - bicubic_up(luma, b.scale)).unsqueeze(2)
            uv = b.hr_chroma.float() / 255 - bicubic_up(chroma, b.scale)
            target = torch.cat([modules.unshuffle_planes(y, factor), self.fold_chroma(uv, factor // 2)], 2)
            # Hard crops (30 kbit/s) would drown the others: each counts relative to how far bicubic is off, as decibels do.
            weight = 1 / (target.abs().mean((1, 2, 3, 4), keepdim=True) + WEIGHT_FLOOR)
            values = (*(p.to(self.dtype) for p in fold(self.config, luma, chroma)), target, weight / weight.mean(), b.compressed)
            if self.ready:
                for mine, new in zip((self.luma, self.chroma, self.target, self.weight, self.compressed), values):
                    mine.copy_(new)
            else:
                self.luma, self.chroma, self.target, self.weight, self.compressed = (v.clone() for v in values)
                self.ready = True

    @staticmethod
    def fold_chroma(planes: torch.Tensor, factor: int) -> torch.Tensor:
        n, t, _, h, w = planes.shape
        return F.pixel_unshuffle(planes.reshape(n * t, 2, h, w), factor).reshape(n, t, -1, h // factor, w // factor)


class Feed:
    """Cuts the next batches while the networks train on the present ones: half of a round's time otherwise."""

    def __init__(self, batches: dict, examples: dict):
        self.batches, self.examples = batches, examples
        self.stream = torch.cuda.Stream() if torch.cuda.is_available() else None
        if self.stream:
            self.stream.wait_stream(torch.cuda.current_stream())
        self.prefetch()

    def prefetch(self) -> None:
        """Fill the batches' buffers; on CUDA behind the last `next`, beside whatever was launched since."""
        if self.stream:
            with torch.cuda.stream(self.stream):
                self.fill()
        else:
            self.fill()

    def fill(self) -> None:
        for batch in self.batches.values():
            batch.fill()

    def next(self) -> None:
        """Hand the filled batches to the networks (their own buffers), and let go of the batches' buffers."""
        if self.stream:
            torch.cuda.current_stream().wait_stream(self.stream)
        for example in self.examples.values():
            example.update()
        if self.stream:
            self.stream.wait_stream(torch.cuda.current_stream())


class Trainer:
    def __init__(self, config: Config, example: Example, seed: int, device: torch.device, args):
        torch.manual_seed(seed)
        self.config, self.example, self.args, self.steps = config, example, args, 0
        self.net = Network(config).to(device)
        if args.resume and os.path.exists(os.path.join(args.resume, config.name + ".pt")):
            self.net.load_state_dict(torch.load(os.path.join(args.resume, config.name + ".pt"), map_location=device)["weights"])
            print(f"{config.name}: resumed", flush=True)
        self.params = list(self.net.parameters())
        # All parameters are views of one vector, so Adam is a handful of kernels.
        self.flat = torch.cat([p.detach().flatten() for p in self.params])
        offset = 0
        for p in self.params:
            p.data = self.flat[offset : offset + p.numel()].view_as(p)
            offset += p.numel()
        self.first, self.second = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
        self.average = self.flat.clone()
        self.net.slope = torch.zeros((), device=device)
        self.rate, self.quantise, self.keep = (torch.zeros((), device=device) for _ in range(3))
        self.count = torch.zeros((), device=device)
        self.loss_scale = torch.full((), 2.0**17 if device.type == "cuda" else 1.0, device=device)
        self.loss, self.skipped, self.score = (torch.zeros((), device=device) for _ in range(3))
        self.graph = None
        self.stream = torch.cuda.Stream() if device.type == "cuda" else None

    def objective(self, residual: torch.Tensor) -> torch.Tensor:
        """Charbonnier on luma, on chroma and on the error's change from frame to frame (flicker).

        Luma bends at 2.5 grey levels: nearly squared error below, so that small residuals are not drawn to zero. Chroma's errors and
        flicker are about one level and less, so they bend earlier: with luma's bend the networks ended below bicubic in both.
        """
        difference = residual.float() - self.example.target
        luma, chroma = difference.split([self.config.luma_out, self.config.chroma_out], 2)

        def charbonnier(x, bend=0.01):
            return (torch.sqrt(x * x + bend * bend) * self.example.weight).mean()

        loss = charbonnier(luma) + self.args.colour * charbonnier(chroma, 0.002)
        change = (luma[:, 1:] - luma[:, :-1]) * (self.args.flicker + (self.args.flicker_compressed - self.args.flicker) * self.example.compressed)
        loss = loss + charbonnier(change, 0.0004)
        if self.args.gradient:
            n, t = luma.shape[:2]
            error = F.pixel_shuffle(luma.reshape(n * t, *luma.shape[2:]), self.config.unshuffle * self.config.scale)
            error = error.reshape(n, t, *error.shape[1:])
            edges = charbonnier(error[..., 1:] - error[..., :-1]) + charbonnier(error[..., 1:, :] - error[..., :-1, :])
            loss = loss + self.args.gradient * edges
        return loss

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
            self.count.add_(live)
            self.first.mul_(0.9).add_(grad, alpha=0.1)
            self.second.mul_(0.995).add_(grad * grad, alpha=0.005)
            correct1, correct2 = 1 - torch.pow(0.9, self.count + 1e-3), 1 - torch.pow(0.995, self.count + 1e-3)
            rate = self.rate * live * torch.sqrt(correct2) / correct1
            self.flat.sub_(rate * self.first / (torch.sqrt(self.second) + 1e-8))
            self.average.add_((self.flat - self.average) * (1 - self.keep))
            if self.loss_scale.is_cuda:  # half precision: grow slowly, halve after an overflow
                factor = 1.0005 * live + 0.5 * (1 - live)
                self.loss_scale.copy_(torch.clamp(self.loss_scale * factor, 2.0**4, 2.0**22))

    def state(self) -> list[torch.Tensor]:
        return [self.flat, self.first, self.second, self.average, self.count, self.loss_scale, self.skipped, self.loss, self.score]

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
        self.keep.fill_(min(0.999, (1 + self.steps) / (10 + self.steps)))
        if self.graph:
            self.graph.replay()
        else:
            self.step()

    def averaged(self) -> Network:
        net, offset = Network(self.config).to(self.flat.device), 0
        net.slope = torch.zeros((), device=self.flat.device)
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(self.average[offset : offset + p.numel()].view_as(p))
                offset += p.numel()
        return net

    def save(self, folder: str) -> None:
        weights = {k: v.cpu() for k, v in self.averaged().state_dict().items()}
        torch.save({"config": self.config.to_dict(), "weights": weights, "steps": self.steps},
                   os.path.join(folder, self.config.name + ".pt"))


def record(trainer: Trainer) -> None:
    """Record the step; without the compiled kernels, then without a graph, if this PyTorch cannot."""
    for attempt in ("compiled", "plain"):
        try:
            trainer.record()
            return
        except Exception as error:
            print(f"{trainer.config.name}: recording with {attempt} kernels failed: {error!r}", flush=True)
            trainer.graph = None
            modules.Activation.forward_kernel = staticmethod(modules.clamp_quantise)
            modules.Activation.backward_kernel = staticmethod(modules.clamp_gradient)


@torch.no_grad()
def validate(net: Network, pool: data.Pool, dtype: torch.dtype) -> dict:
    """PSNR on luma in dB, frames 4.. of every validation clip: clean and compressed input, with bicubic beside them."""
    config, device = net.config, pool.device
    one = torch.ones((), device=device)
    sums: dict = {}
    for clip in pool.validation:
        for index, (luma, chroma) in enumerate(clip.renditions[config.scale]):
            kind = "clean" if index == 0 else "compressed"
            # Crop to what the network's folding divides.
            h, w = luma.shape[1] // 2 * 2, luma.shape[2] // 2 * 2
            luma, chroma = luma[None, :, :h, :w].float() / 255, chroma[None, ..., : h // 2, : w // 2].float() / 255
            residual = net(*(p.to(dtype) for p in fold(config, luma, chroma)), one, dtype)[0, :, : config.luma_out]
            base = bicubic_up(luma, config.scale)[0]
            up = base + F.pixel_shuffle(residual.float(), config.unshuffle * config.scale)[:, 0]
            truth = clip.luma[:, : h * config.scale, : w * config.scale].float() / 255
            for name, picture in ((kind, up), (kind + "-bicubic", base)):
                picture = torch.clamp(torch.round(picture * 255), 0, 255) / 255
                mse = ((picture - truth)[4:, 4:-4, 4:-4] ** 2).mean((1, 2)).clamp_min(1e-9)
                sums.setdefault(name, []).append(float((-10 * torch.log10(mse)).mean()))
    return {name: round(sum(values) / len(values), 3) for name, values in sums.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=".train")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, required=True, help="wall clock of the whole process, loading included")
    parser.add_argument("--models", default="nano,mini,nano-x2", help=f"of {', '.join(PRESETS)}")
    parser.add_argument("--contest", default="", help="networks of one scale of which only the best goes on")
    parser.add_argument("--contest-until", type=float, default=0.25, help="progress at which the best is picked, by running loss")
    parser.add_argument("--resume", help="folder with <model>.pt to start from (then --leaky 0)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--items", type=int, default=16)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--crop", type=int, default=64, help="low-resolution pixels")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--clip", type=float, default=0.5, help="largest gradient norm")
    parser.add_argument("--clean", type=float, default=0.45, help="share of uncompressed inputs")
    parser.add_argument("--fresh", type=float, default=0.7, help="share of the uncompressed ones rendered anew from photographs")
    parser.add_argument("--colour", type=float, default=1.0, help="weight of chroma")
    parser.add_argument("--flicker", type=float, default=0.25, help="weight of the error's change between frames, uncompressed input")
    parser.add_argument("--flicker-compressed", type=float, default=1.0, help="the same for compressed input")
    parser.add_argument("--gradient", type=float, default=0.0)
    parser.add_argument("--quantise-at", type=float, default=0.4, help="progress at which 8-bit behaviour starts")
    parser.add_argument("--leaky", type=float, default=0.25, help="slope below zero at the start")
    parser.add_argument("--leaky-until", type=float, default=0.2, help="progress at which it has fallen to zero")
    parser.add_argument("--steps", type=int, default=0, help="stop after so many rounds (for tests)")
    parser.add_argument("--limit", type=int, default=0, help="load only so many clips (for tests)")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    cuda = torch.cuda.is_available()
    pool = data.Pool(args.data, torch.device("cuda" if cuda else "cpu"), args.limit)
    device, dtype = pool.device, torch.float16 if cuda else torch.float32
    if cuda:
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # the bicubic base stays exact
        torch._dynamo.config.cache_size_limit = 64
        modules.Activation.forward_kernel = staticmethod(torch.compile(modules.clamp_quantise, dynamic=True))
        modules.Activation.backward_kernel = staticmethod(torch.compile(modules.clamp_gradient, dynamic=True))
    configs = [PRESETS[name] for name in args.models.split(",")]
    photographs = data.Photographs(args.data, device, args.limit)
    print(f"{time.time() - STARTED:6.1f} s: {len(photographs.photographs)} photographs", flush=True)
    batches = {s: data.Batch(pool, photographs, s, args.items, args.frames, args.crop, args.seed * 10 + s, args.clean, args.fresh)
               for s in sorted({c.scale for c in configs})}
    examples: dict = {}
    for config in configs:
        examples.setdefault((config.scale, config.unshuffle), Example(config, batches[config.scale], dtype))
    for example in examples.values():
        example.update()
    trainers = [Trainer(c, examples[c.scale, c.unshuffle], args.seed, device, args) for c in configs]
    if cuda:
        for trainer in trainers:
            begun = time.time()
            record(trainer)
            print(f"{time.time() - STARTED:6.1f} s: {trainer.config.name} recorded in {time.time() - begun:.1f} s", flush=True)
    pool.start()
    data.wait_for(pool, STARTED)
    log: dict = {"args": vars(args), "curves": [], "torch": torch.__version__, "device": torch.cuda.get_device_name() if cuda else "cpu"}
    feed = Feed(batches, examples)
    begun, rounds, saved = time.time(), 0, time.time()
    contest, dropped = [name for name in args.contest.split(",") if name], []
    budget = args.seconds - (begun - STARTED) - 2.0 * len(trainers) * (1 if cuda else 0)
    try:
        while True:
            progress = (time.time() - begun) / budget if not args.steps else rounds / args.steps
            if progress >= 1 or pool.failure:
                break
            feed.next()
            for trainer in trainers:
                trainer.advance(progress)
            feed.prefetch()
            for trainer in trainers:
                if trainer.stream:
                    torch.cuda.current_stream().wait_stream(trainer.stream)
            rounds += 1
            if contest and progress >= args.contest_until:
                scores = {t.config.name: round(float(t.score), 6) for t in trainers if t.config.name in contest}
                best = min(scores, key=lambda name: scores[name])
                log["contest"] = {"round": rounds, "scores": scores, "winner": best}
                print(f"{time.time() - STARTED:6.1f} s: {json.dumps(log['contest'])}", flush=True)
                dropped = [t for t in trainers if t.config.name in contest and t.config.name != best]
                trainers = [t for t in trainers if t not in dropped]
                used = {id(t.example) for t in trainers}
                feed.examples = {key: e for key, e in examples.items() if id(e) in used}
                for trainer in dropped:
                    trainer.graph = None
                contest = []
            if rounds % 20 == 0 and cuda:
                torch.cuda.synchronize()  # keep the host from running far ahead, so the clock means something
            if rounds % (250 if cuda else 5) == 0:
                row = {"round": rounds, "seconds": round(time.time() - STARTED, 1), "clips": len(pool.train),
                       "loss": {t.config.name: round(float(t.loss), 5) for t in trainers},
                       "skipped": [int(t.skipped) for t in trainers]}
                log["curves"].append(row)
                if rounds % (1000 if cuda else 5) == 0:
                    print(json.dumps(row), flush=True)
            if time.time() - saved > 60:
                saved = time.time()
                for trainer in trainers:
                    trainer.save(args.out)
    finally:
        for trainer in trainers:
            trainer.save(args.out)
    if pool.failure:
        raise pool.failure
    modules.Activation.forward_kernel = staticmethod(modules.clamp_quantise)
    torch.backends.cudnn.benchmark = False
    log["rounds"], log["validation"] = rounds, {}
    print(f"{time.time() - STARTED:6.1f} s: {rounds} rounds; validating", flush=True)
    for trainer in trainers + dropped:
        log["validation"][trainer.config.name] = validate(trainer.averaged(), pool, dtype)
        print(trainer.config.name, trainer.steps, "steps", json.dumps(log["validation"][trainer.config.name]), flush=True)
        with open(os.path.join(args.out, "log.json"), "w") as file:
            json.dump(log, file)
    print(f"{time.time() - STARTED:6.1f} s: done", flush=True)


if __name__ == "__main__":
    main()
