"""Train several networks at once on one device or on several, bounded by the wall clock.

    python3 training/train.py --data .train --out OUT --seconds 420 --models nano,mini,nano-x2 [--resume DIR] [--seed 1] [--ranks 3]

All networks of one scale see the same batches, so their scores compare. On CUDA each network's whole step (forward through time,
backward, Adam, weight average) is one recorded graph in half precision with a dynamic loss scale. The learning rate falls along
a cosine of the elapsed time; `quantise` switches from 0 to 1 at --quantise-at of it. With --ranks every GPU draws its own crops, and
weights are averaged every --sync rounds. OUT gets <model>.pt (averaged weights) and log.json with losses and validation scores every
--save-every seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time

import torch

import data
import midi
import model as modules
import objective
import ranks as processes
import validate
from midi import Rectify
from objective import Example
from pans import Pans
from trainer import PRESETS, Trainer, record

STARTED = float(os.environ.get("TRAIN_STARTED", time.time()))


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


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=".train")
    parser.add_argument("--cache", default="", help="folder that `data.py --cache` fills with this pack's clips")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, required=True, help="wall clock of the whole process, loading included")
    parser.add_argument("--models", default="nano,mini,nano-x2", help=f"of {', '.join(PRESETS)}")
    parser.add_argument("--contest", default="", help="networks of one scale of which only the best goes on")
    parser.add_argument("--contest-until", type=float, default=0.25, help="progress at which the best is picked, by running loss")
    parser.add_argument("--resume", help="folder with <model>.pt to start from (then --leaky 0)")
    parser.add_argument("--ranks", type=int, default=1, help="processes, one a GPU; without GPUs all on the CPU")
    parser.add_argument("--sync", type=int, default=8, help="rounds between averages over the processes")
    parser.add_argument("--save-every", type=float, default=30.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--items", type=int, default=16)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--crop", type=int, default=64, help="low-resolution pixels")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--muon", default="", help="NAME:RATE,...: networks that Muon trains, and its rate relative to Adam's")
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--clip", type=float, default=0.5, help="largest gradient norm")
    parser.add_argument("--clean", type=float, default=0.45, help="share of uncompressed inputs")
    parser.add_argument("--fresh", type=float, default=0.7, help="share of the uncompressed ones rendered for this batch from photographs")
    parser.add_argument("--sharp", type=float, default=0.0, help="share of those that pan over a photograph by whole pixels")
    parser.add_argument("--noisy", type=float, default=0.5, help="share of those with sensor noise")
    parser.add_argument("--weight-floor", type=float, default=objective.WEIGHT_FLOOR,
                        help="residual at which a crop counts half as much as a flat one")
    parser.add_argument("--bend-end", type=float, default=objective.BEND,
                        help="luma's Charbonnier bend at the end (of 1.0): larger is nearer to squared error")
    parser.add_argument("--bend-from", type=float, default=0.3,
                        help="progress at which the bend starts to grow; -3: it has grown from the start")
    parser.add_argument("--keep", type=float, default=0.999, help="running average of the weights: what stays of it a step")
    parser.add_argument("--keep-end", type=float, default=0.999, help="the same after 0.6 of the progress")
    parser.add_argument("--colour", type=float, default=1.0, help="weight of chroma")
    parser.add_argument("--flicker", type=float, default=0.25, help="weight of the error's change between frames, uncompressed input")
    parser.add_argument("--flicker-compressed", type=float, default=1.0, help="the same for compressed input")
    parser.add_argument("--gradient", type=float, default=0.0)
    parser.add_argument("--quantise-at", type=float, default=0.4, help="progress at which 8-bit behaviour starts")
    parser.add_argument("--leaky", type=float, default=0.25, help="slope below zero at the start")
    parser.add_argument("--leaky-until", type=float, default=0.2, help="progress at which it has fallen to zero")
    parser.add_argument("--steps", type=int, default=0, help="stop after so many rounds (for tests)")
    parser.add_argument("--limit", type=int, default=0, help="load only so many clips (for tests)")
    return parser.parse_args()


class Run:
    """What main() sets up and the loop uses."""

    def __init__(self, args: argparse.Namespace, ranks: processes.Ranks):
        self.args, self.ranks = args, ranks
        cuda = torch.cuda.is_available()
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        # The pool's workers are forked before the device is touched.
        self.pool = data.Pool(args.data, torch.device("cuda" if cuda else "cpu"), args.limit, share=ranks.count, cache=args.cache)
        ranks.meet()
        self.device, self.dtype = self.pool.device, torch.float16 if cuda else torch.float32
        if cuda:
            torch.backends.cudnn.benchmark = True
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # the bicubic base stays exact
            torch._dynamo.config.cache_size_limit = 64
            modules.Activation.forward_kernel = staticmethod(torch.compile(modules.clamp_quantise, dynamic=True))
            modules.Activation.backward_kernel = staticmethod(torch.compile(modules.clamp_gradient, dynamic=True))
            modules.Join.forward_kernel = staticmethod(torch.compile(modules.join_quantise, dynamic=True))
            Rectify.forward_kernel = staticmethod(torch.compile(midi.rectify, dynamic=True))
            Rectify.backward_kernel = staticmethod(torch.compile(midi.rectify_gradient, dynamic=True))
        configs = [PRESETS[name] for name in args.models.split(",")]
        photographs = data.Photographs(args.data, self.device, args.limit)
        self.examination = Pans(data.Photographs(args.data, self.device, args.limit, held=True)) if ranks.first else None
        say(f"{len(photographs.photographs)} photographs")
        # Every process draws other crops; the networks start equal.
        seed = args.seed * 10 + 100_000 * ranks.rank
        self.batches = {s: data.Batch(self.pool, photographs, s, args.items, args.frames, args.crop, seed + s, args.clean, args.fresh,
                                      args.sharp, args.noisy) for s in sorted({c.scale for c in configs})}
        self.examples: dict = {}
        for config in configs:
            key = config.scale, config.unshuffle
            self.examples.setdefault(key, Example(config, self.batches[config.scale], self.dtype, args.weight_floor))
        for example in self.examples.values():
            example.update()
        self.trainers = [Trainer(c, self.examples[c.scale, c.unshuffle], args.seed, self.device, args) for c in configs]
        torch.manual_seed(seed)  # the crops' noise
        self.dropped: list[Trainer] = []
        self.log: dict = {"args": vars(args), "ranks": ranks.count, "curves": [], "sharp": [], "torch": torch.__version__,
                          "device": torch.cuda.get_device_name() if cuda else "cpu"}

    def prepare(self) -> None:
        if self.device.type == "cuda":
            for trainer in self.trainers:
                begun = time.time()
                record(trainer)
                say(f"{trainer.config.name} recorded in {time.time() - begun:.1f} s")
        self.pool.start()
        self.ranks.connect(self.device)
        if any(trainer.resumed for trainer in self.trainers):
            self.examine(0.0)
        data.wait_for(self.pool, STARTED)

    def examine(self, progress: float) -> None:
        """Log where the running averages stand on the sharp pans; bicubic is beside them."""
        if not self.ranks.first:
            return
        row = {"seconds": round(time.time() - STARTED, 1), "progress": round(progress, 4)}
        row.update({t.config.name: validate.sharp(t.averaged(), self.examination, self.dtype) for t in self.trainers})
        self.log["sharp"].append(row)
        print(json.dumps(row), flush=True)

    def save(self) -> None:
        if not self.ranks.first:
            return
        for trainer in self.trainers:
            trainer.save(self.args.out)
        self.write()

    def write(self) -> None:
        path = os.path.join(self.args.out, "log.json")
        with open(path + ".new", "w") as file:
            json.dump(self.log, file)
        os.replace(path + ".new", path)

    def choose(self, contest: list[str], rounds: int, feed: Feed) -> None:
        """Only the best of the contest goes on."""
        scores = {t.config.name: round(float(t.score), 6) for t in self.trainers if t.config.name in contest}
        best = min(scores, key=lambda name: scores[name])
        self.log["contest"] = {"round": rounds, "scores": scores, "winner": best}
        say(json.dumps(self.log["contest"]))
        self.dropped = [t for t in self.trainers if t.config.name in contest and t.config.name != best]
        self.trainers = [t for t in self.trainers if t not in self.dropped]
        used = {id(t.example) for t in self.trainers}
        feed.examples = {key: e for key, e in self.examples.items() if id(e) in used}
        for trainer in self.dropped:
            trainer.graph = None

    def loop(self) -> int:
        args, ranks, cuda = self.args, self.ranks, self.device.type == "cuda"
        feed = Feed(self.batches, self.examples)
        contest = [name for name in args.contest.split(",") if name]
        begun = saved = time.time()
        rounds, progress = 0, 0.0
        budget = args.seconds - (begun - STARTED) - (4.0 + 4.0 * len(self.trainers) if cuda else 0)
        while True:
            if rounds % (args.sync if ranks.count > 1 else 1) == 0:
                if rounds:
                    for trainer in self.trainers:
                        ranks.average(trainer.shared())
                mine = (time.time() - begun) / budget if not args.steps else rounds / args.steps
                progress, failed = ranks.agree(mine, bool(self.pool.failure))
                if progress >= 1 or failed:
                    return rounds
            feed.next()
            for trainer in self.trainers:
                trainer.advance(progress)
            feed.prefetch()
            for trainer in self.trainers:
                if trainer.stream:
                    torch.cuda.current_stream().wait_stream(trainer.stream)
            rounds += 1
            if contest and progress >= args.contest_until:
                self.choose(contest, rounds, feed)
                contest = []
            if rounds % 20 == 0 and cuda:
                torch.cuda.synchronize()  # keep the host from running far ahead, so the clock means something
            if rounds % (250 if cuda else 5) == 0:
                row = {"round": rounds, "seconds": round(time.time() - STARTED, 1), "clips": len(self.pool.train),
                       "loss": {t.config.name: round(float(t.loss), 5) for t in self.trainers},
                       "score": {t.config.name: round(float(t.score), 5) for t in self.trainers},
                       "skipped": [int(t.skipped) for t in self.trainers]}
                self.log["curves"].append(row)
                if rounds % (1000 if cuda else 5) == 0:
                    print(json.dumps(row), flush=True)
            if time.time() - saved > args.save_every:
                saved = time.time()
                self.examine(progress)
                self.save()


def say(what: str) -> None:
    print(f"{time.time() - STARTED:6.1f} s: {what}", flush=True)


def main() -> None:
    args = options()
    if args.ranks > 1 and "TRAIN_RANK" not in os.environ:
        sys.exit(processes.launch(args.ranks, STARTED))
    os.makedirs(args.out, exist_ok=True)
    ranks = processes.Ranks()
    if not ranks.first:
        sys.stdout = open(os.devnull, "w")
    run = Run(args, ranks)
    run.prepare()
    rounds = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a process that is asked to end saves first
    try:
        rounds = run.loop()
    except RuntimeError as error:
        if ranks.count == 1:
            raise
        # Another process is gone: what this one has is whole, and is validated.
        say(f"process {ranks.rank}: {error!r}")
        run.log["broken"] = repr(error)
    finally:
        run.save()
    if run.pool.failure:
        raise run.pool.failure
    if ranks.first:
        run.log["rounds"], run.log["validation"] = rounds, {}
        say(f"{rounds} rounds; validating")
        run.examine(1.0)
        for trainer in run.trainers + run.dropped:
            scores = validate.clips(trainer.averaged(), run.pool, run.dtype)
            run.log["validation"][trainer.config.name] = scores
            print(trainer.config.name, trainer.steps, "steps", json.dumps(scores), flush=True)
            run.write()
        say("done")
    run.pool.stop()
    ranks.finish()


if __name__ == "__main__":
    main()
