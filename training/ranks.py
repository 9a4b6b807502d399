"""Several processes, one GPU each, that train the same networks on different crops and average every few steps (local SGD).

train.py --ranks N starts itself N times; every process sees one GPU as its first. What the processes agree on (the clock, the end,
that one of them failed) goes over gloo between CPUs; vectors go over NCCL between GPUs, or over gloo too where NCCL does not work.
NCCL is set up only after the steps are recorded: its watchdog's calls would break a recording.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tempfile
import time

import torch
import torch.distributed as dist

# Loading and recording take different times in different processes; nothing else should keep one waiting for another.
PATIENCE = datetime.timedelta(seconds=150)
# One host, nothing but its loopback; and no NVLink multicast, which can leave a shared host's GPUs unusable.
ENVIRONMENT = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "NCCL_IB_DISABLE": "1", "NCCL_NVLS_ENABLE": "0"}


def devices() -> list[str]:
    """The GPUs to use, as CUDA_VISIBLE_DEVICES names them; found without starting CUDA in this process."""
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        return [name for name in listed.split(",") if name]
    try:
        found = subprocess.run(["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return found.stdout.split() if found.returncode == 0 else []


def launch(count: int, started: float) -> int:
    """Run this program `count` times, at most once a GPU; -> the first process' exit status. Without GPUs all run on the CPU."""
    gpus = devices()
    count = min(count, len(gpus)) if gpus else count
    folder = tempfile.mkdtemp()
    children = []
    for rank in range(count):
        environment = {**ENVIRONMENT, **os.environ, "TRAIN_RANK": str(rank), "TRAIN_RANKS": str(count),
                       "TRAIN_MEETING": os.path.join(folder, "meeting"), "TRAIN_STARTED": repr(started),
                       "TORCHINDUCTOR_CACHE_DIR": os.path.join(folder, f"kernels{rank}")}
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[rank]
        children.append(subprocess.Popen([sys.executable, *sys.argv], env=environment))
    try:
        # A process that dies takes the others with it within PATIENCE: the first then saves what it has.
        return children[0].wait()
    finally:
        deadline = time.time() + 5
        for child in children:
            try:
                child.wait(max(0.0, deadline - time.time()))
            except subprocess.TimeoutExpired:
                child.kill()


class Ranks:
    def __init__(self) -> None:
        self.rank, self.count = int(os.environ.get("TRAIN_RANK", 0)), int(os.environ.get("TRAIN_RANKS", 1))
        self.group = None
        self.first = self.rank == 0

    def meet(self) -> None:
        """Join the others; after worker processes are forked, which would hold on to the connections."""
        if self.count > 1:
            dist.init_process_group("gloo", init_method="file://" + os.environ["TRAIN_MEETING"], rank=self.rank, world_size=self.count,
                                    timeout=PATIENCE)

    def connect(self, device: torch.device) -> None:
        """Set NCCL up, after the recording of the steps; all processes go back to gloo if one of them cannot."""
        if self.count == 1 or device.type != "cuda":
            return
        self.agree(0.0)  # all have recorded
        works = 1.0
        try:
            group = dist.new_group(backend="nccl", timeout=PATIENCE)
            probe = torch.ones(1024, device=device)
            dist.all_reduce(probe, group=group)
            works = float(probe[0].item() == self.count)
        except Exception as error:
            print(f"rank {self.rank}: NCCL failed, averages go through the CPU: {error!r}", flush=True)
            works = 0.0
        answer = torch.tensor([works])
        dist.all_reduce(answer, op=dist.ReduceOp.MIN)
        self.group = group if float(answer) else None
        if self.first:
            print(f"{self.count} processes, averaging over {'NCCL' if self.group else 'gloo'}", flush=True)

    def agree(self, progress: float, failed: bool = False) -> tuple[float, bool]:
        """The first process' progress, and whether any process failed. All must call it after the same number of rounds."""
        if self.count == 1:
            return progress, failed
        values = torch.tensor([progress if self.first else 0.0, float(failed)], dtype=torch.float64)
        dist.all_reduce(values)
        return float(values[0]), bool(values[1])

    @torch.no_grad()
    def average(self, vectors: list[torch.Tensor]) -> None:
        """Each vector becomes its mean over the processes, in place, on the current stream."""
        if self.count == 1:
            return
        joined = torch.cat(vectors)
        if self.group or joined.device.type == "cpu":
            dist.all_reduce(joined, group=self.group)
        else:
            through = joined.cpu()
            dist.all_reduce(through)
            joined.copy_(through)
        joined.mul_(1 / self.count)
        for vector, mean in zip(vectors, joined.split([v.numel() for v in vectors])):
            vector.copy_(mean)

    def finish(self) -> None:
        """Leave together: NCCL minds a peer that goes early, and taking its group apart may never return."""
        if self.count == 1:
            return
        try:
            self.agree(1.0)
        except RuntimeError:
            pass  # the others are gone already
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
