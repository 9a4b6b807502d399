"""The pool of training clips on the training device, and batches cut from it.

prepare.py's folder -> every clip's high-resolution I420 frames, its clean low-resolution frames (antialiased bicubic, as in the
literature) and its compressed renditions, all uint8 on the device. Batches are crops of `frames` consecutive frames.

    python3 training/data.py --data .train --cache /dev/shm/clips     # renders once for several trainings (train.py --cache)
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import threading
import time
from multiprocessing import get_context

import numpy as np
import torch
import torch.nn.functional as F

import render
from pans import Pans
from photographs import Photographs
from resampling import resize_matrix

CELL = 32  # high-resolution pixels; crops are drawn by the gradient energy of such cells


# Seconds to wait for a clip that another process renders.
PATIENCE = 240


def load_clip(job: tuple) -> str:
    """Render one clip and decode its streams into a folder of .npy files under `scratch`; runs in a worker process."""
    clip, folder, scratch = job
    luma, chroma = render.render(clip, folder, render.PhotoCache(os.path.join(folder, "photos"), 4))
    target = os.path.join(scratch, f"{clip['id']:04d}")
    unfinished = target + ".new"
    os.makedirs(unfinished)
    np.save(os.path.join(unfinished, "hr_luma.npy"), luma)
    np.save(os.path.join(unfinished, "hr_chroma.npy"), chroma)
    for number, plan in enumerate(clip["streams"]):
        size = (clip["width"] // plan["scale"], clip["height"] // plan["scale"])
        y, uv = render.read_stream(os.path.join(folder, plan["file"]), *size, clip["frames"], clip["frames"])
        np.save(os.path.join(unfinished, f"s{number}_luma.npy"), y)
        np.save(os.path.join(unfinished, f"s{number}_chroma.npy"), uv)
    os.rename(unfinished, target)
    return target


def await_clip(job: tuple) -> str:
    """The folder of a clip that `data.py --cache` renders beside this process."""
    clip, _, cache = job
    target = os.path.join(cache, f"{clip['id']:04d}")
    deadline = time.time() + PATIENCE
    while not os.path.isdir(target):
        if time.time() > deadline:
            raise TimeoutError(f"{target} did not appear within {PATIENCE} s: does `data.py --cache {cache}` run?")
        time.sleep(0.1)
    return target


def in_order(clips: list[dict]) -> list[dict]:
    """Validation first, the others in one random order for every process."""
    order = np.random.default_rng(1).permutation(len(clips))
    return sorted((clips[i] for i in order), key=lambda clip: not clip["validation"])


class Clip:
    def __init__(self, description: dict, folder: str, device: torch.device, matrices: dict):
        def load(name):
            return torch.from_numpy(np.load(os.path.join(folder, name + ".npy"))).to(device)

        self.description, self.frames = description, description["frames"]
        self.luma, self.chroma = load("hr_luma"), load("hr_chroma")
        self.renditions = {scale: [self.clean(scale, device, matrices)] for scale in (2, 4)}
        for number, plan in enumerate(description["streams"]):
            self.renditions[plan["scale"]].append((load(f"s{number}_luma"), load(f"s{number}_chroma")))
        luma = self.luma[self.frames // 2].float()[None, None]
        energy = (luma[..., 1:, 1:] - luma[..., :-1, 1:]).abs() + (luma[..., 1:, 1:] - luma[..., 1:, :-1]).abs()
        self.energy = F.avg_pool2d(F.pad(energy, (0, 1, 0, 1)), CELL)[0, 0].cpu().numpy() + 0.5

    def clean(self, scale: int, device: torch.device, matrices: dict) -> tuple[torch.Tensor, torch.Tensor]:
        def shrink(planes: torch.Tensor) -> torch.Tensor:
            for size in planes.shape[-2:]:
                if (size, scale) not in matrices:
                    weights = resize_matrix(size, size // scale)
                    matrices[size, scale] = torch.from_numpy(weights).to(device)
            rows, columns = matrices[planes.shape[-2], scale], matrices[planes.shape[-1], scale]
            return torch.clamp(torch.round(rows @ planes.float() @ columns.T), 0, 255).to(torch.uint8)

        return (
            torch.stack([shrink(frame) for frame in self.luma]),
            torch.stack([shrink(frame) for frame in self.chroma]),
        )


class Pool:
    """Clips arrive from worker processes while training already runs; `ready` is set at the first `enough` of them."""

    def __init__(self, folder: str, device: torch.device, limit: int = 0, enough: int = 48, share: int = 1, cache: str = ""):
        """`share`: processes that load at the same time on this machine; `cache`: where another process renders the clips."""
        with open(os.path.join(folder, "clips.json")) as file:
            clips = json.load(file)["clips"]
        if limit:
            clips = [c for c in clips if not c["validation"]][:limit] + [c for c in clips if c["validation"]][:1]
        clips = in_order(clips)
        self.train: list[Clip] = []
        self.validation: list[Clip] = []
        self.ready, self.failure, self.total = threading.Event(), None, len(clips)
        shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 30e9 else None
        self.scratch, self.cache = tempfile.mkdtemp(dir=shared), cache
        self.device, self.enough = device, min(enough, len(clips))
        # Started before the device is touched, so plain forks are safe.
        self.workers = get_context("fork").Pool(4 if cache else max(1, min(16, (os.cpu_count() or 1) // share)))
        jobs = [(c, folder, cache or self.scratch) for c in clips]
        self.results = self.workers.imap_unordered(await_clip if cache else load_clip, jobs)
        self.by_id = {c["id"]: c for c in clips}

    def start(self) -> None:
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def collect(self) -> None:
        matrices: dict = {}
        try:
            for target in self.results:
                description = self.by_id[int(os.path.basename(target))]
                clip = Clip(description, target, self.device, matrices)
                if self.device.type == "cuda":  # batches are cut on another stream than this thread's
                    torch.cuda.current_stream().synchronize()
                if not self.cache:
                    shutil.rmtree(target)
                (self.validation if description["validation"] else self.train).append(clip)
                if len(self.train) + len(self.validation) >= self.enough:
                    self.ready.set()
        except Exception as error:  # handed to the training thread, which ends the run with it
            self.failure = error
        self.ready.set()
        self.workers.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def wait(self) -> None:
        self.ready.wait()
        if self.failure:
            raise self.failure

    def stop(self) -> None:
        """Nothing is left behind by a run that ends before all clips have arrived."""
        self.workers.terminate()
        shutil.rmtree(self.scratch, ignore_errors=True)


class Batch:
    """Static buffers of one scale's crops: uint8 in, filled in place so that recorded graphs can read them."""

    def __init__(self, pool: Pool, photographs: Photographs, scale: int, items: int, frames: int, crop: int, seed: int,
                 clean: float, fresh: float, sharp: float, noisy: float):
        """`clean`: share of crops with uncompressed input; `fresh`: share of those straight from photographs, the others from clips;
        `sharp`: share of the fresh ones that pan by whole pixels (pans.py); `noisy`: share of the fresh ones with sensor noise."""
        self.pool, self.photographs, self.scale, self.items = pool, photographs, scale, items
        self.pans, self.sharp, self.noisy = Pans(photographs) if sharp else None, sharp, noisy
        self.frames, self.crop, self.clean, self.fresh = frames, crop, clean, fresh
        self.random = np.random.default_rng(seed)
        device, full = pool.device, crop * scale
        self.luma = torch.zeros(items, frames, crop, crop, dtype=torch.uint8, device=device)
        self.chroma = torch.zeros(items, frames, 2, crop // 2, crop // 2, dtype=torch.uint8, device=device)
        self.hr_luma = torch.zeros(items, frames, full, full, dtype=torch.uint8, device=device)
        self.hr_chroma = torch.zeros(items, frames, 2, full // 2, full // 2, dtype=torch.uint8, device=device)
        self.noise = torch.zeros(items, 1, 1, 1, device=device)
        self.compressed = torch.zeros(items, 1, 1, 1, 1, device=device)  # 1: the input went through a codec

    def place(self, clip: Clip) -> tuple[int, int]:
        """Top-left corner in low-resolution pixels, even, drawn by gradient energy."""
        energy = clip.energy.ravel()
        cell = int(np.searchsorted(np.cumsum(energy), self.random.random() * energy.sum()))
        row, column = divmod(min(cell, energy.size - 1), clip.energy.shape[1])
        corner = []
        for index, size in ((row, clip.luma.shape[1]), (column, clip.luma.shape[2])):
            position = (index * CELL + self.random.integers(CELL)) // self.scale - self.crop // 2
            corner.append(int(np.clip(position, 0, size // self.scale - self.crop)) // 2 * 2)
        return corner[0], corner[1]

    def fill(self) -> None:
        random, s, c = self.random, self.scale, self.crop
        clips = self.pool.train
        noise, compressed = np.zeros(self.items, np.float32), np.zeros(self.items, np.float32)
        usable = [clip for clip in list(clips) if min(clip.luma.shape[1:]) // s >= c]
        for i in range(self.items):
            clean = random.random() < self.clean
            if clean and random.random() < self.fresh:
                source = self.pans if random.random() < self.sharp else self.photographs
                drawn = source.draw(random, s, c, self.frames)
                for plane, new in zip((self.luma, self.chroma, self.hr_luma, self.hr_chroma), drawn):
                    plane[i].copy_(new)
                kind = random.random()  # a dark room, a good camera, or none
                noise[i] = random.exponential(4.0) if kind < 0.12 * self.noisy else random.uniform(0, 1.2) if kind < self.noisy else 0
                continue
            clip = usable[int(random.integers(len(usable)))]
            renditions = clip.renditions[s]
            clean = clean or len(renditions) == 1
            compressed[i] = not clean
            luma, chroma = renditions[0 if clean else int(random.integers(1, len(renditions)))]
            if clean and random.random() < 0.25:
                noise[i] = random.exponential(4.0)
            t = int(random.integers(clip.frames - self.frames + 1))
            y, x = self.place(clip)
            times = slice(t, t + self.frames)
            self.luma[i].copy_(luma[times, y : y + c, x : x + c])
            self.chroma[i].copy_(chroma[times, :, y // 2 : (y + c) // 2, x // 2 : (x + c) // 2])
            self.hr_luma[i].copy_(clip.luma[times, s * y : s * (y + c), s * x : s * (x + c)])
            half = slice(s * y // 2, s * (y + c) // 2), slice(s * x // 2, s * (x + c) // 2)
            self.hr_chroma[i].copy_(clip.chroma[(times, slice(None), *half)])
        planes = (self.luma, self.chroma, self.hr_luma, self.hr_chroma)
        if random.random() < 0.5:
            for plane in planes:
                plane.copy_(plane.flip(-1))
        if random.random() < 0.5:
            for plane in planes:
                plane.copy_(plane.flip(-2))
        if random.random() < 0.5:
            for plane in planes:
                plane.copy_(plane.transpose(-1, -2).clone())
        if random.random() < 0.3:
            for plane in planes:
                plane.copy_(plane.flip(1))
        self.noise.copy_(torch.from_numpy(noise).view(-1, 1, 1, 1))
        self.compressed.copy_(torch.from_numpy(compressed).view(-1, 1, 1, 1, 1))
        if noise.any():
            self.luma.copy_(torch.clamp(torch.round(self.luma + self.noise * torch.randn_like(self.luma, dtype=torch.float32)), 0, 255))


def wait_for(pool: Pool, started: float) -> None:
    pool.wait()
    ready = f"{len(pool.train)} training and {len(pool.validation)} validation clips of {pool.total}"
    print(f"{time.time() - started:6.1f} s: {ready}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=".train")
    parser.add_argument("--cache", required=True, help="folder to fill; must not hold clips yet")
    args = parser.parse_args()
    os.makedirs(args.cache, exist_ok=True)
    with open(os.path.join(args.data, "clips.json")) as file:
        clips = in_order(json.load(file)["clips"])
    begun = time.time()
    with get_context("fork").Pool(os.cpu_count() or 1) as workers:
        for count, _ in enumerate(workers.imap_unordered(load_clip, [(c, args.data, args.cache) for c in clips]), 1):
            if count % 50 == 0 or count == len(clips):
                print(f"{time.time() - begun:6.1f} s: {count} of {len(clips)} clips", flush=True)


if __name__ == "__main__":
    main()
