"""Self-checks of midi and its optimiser, in seconds, without data or a GPU; needs PyTorch and onnx."""

from __future__ import annotations

import types
import unittest

import numpy as np
import torch
from onnx import TensorProto, numpy_helper

import evaluate
import from_onnx
import midi_graph
import objective
from midi import Midi, MidiConfig
from optimiser import Optimiser, orthogonalise
from trainer import Trainer, muon_rates

OPTIONS = dict(resume=None, muon="tiny:2", clip=0.5, bend_from=2, bend_end=0.1, colour=1.0, flicker=0.1, flicker_compressed=0.5,
               gradient=0.02, warmup=5, rate=2e-3, leaky=0, leaky_until=0.2, quantise_at=2, keep=0.99, keep_end=0.99)


def small(name: str = "tiny", scale: int = 4) -> Midi:
    torch.manual_seed(3)
    return Midi(MidiConfig(name, scale=scale, channels=8, blocks=2))


def batch() -> types.SimpleNamespace:
    """Two clips of three frames of striped noise, and what they shrink to."""
    random = np.random.default_rng(4)
    high = torch.from_numpy(random.integers(0, 256, (2, 3, 64, 64)).astype(np.uint8))
    high[..., ::3] //= 4
    low = torch.nn.functional.avg_pool2d(high.float(), 4).round().to(torch.uint8)
    grey = [torch.full((2, 3, 2, size, size), 128, dtype=torch.uint8) for size in (8, 32)]
    return types.SimpleNamespace(scale=4, luma=low, chroma=grey[0], hr_luma=high, hr_chroma=grey[1], compressed=torch.zeros(2, 1, 1, 1, 1))


class Network(unittest.TestCase):
    def test_a_clip_gives_what_its_frames_give_one_by_one(self):
        net, clip = small(), batch()
        luma, chroma = objective.fold(net.config, clip.luma / 255, clip.chroma / 255)
        with torch.no_grad():
            whole, weights = net(luma, chroma, None, torch.float32), net.weights(None, torch.float32)
            hidden, previous = torch.zeros(2, 8, 16, 16), torch.zeros(2, 1, 16, 16)
            for t in range(3):
                residual, hidden = net.step(weights, luma[:, t], chroma[:, t], previous, hidden, None)
                previous = luma[:, t]
                self.assertLess(float((residual - whole[:, t]).abs().max()), 1e-5)

    def test_the_state_stays_bounded_over_hundreds_of_frames(self):
        net = small()
        with torch.no_grad():
            net.memory *= 40  # a recurrence that would explode
            weights, hidden = net.weights(None, torch.float32), torch.zeros(1, 8, 4, 4)
            for _ in range(300):
                residual, hidden = net.step(weights, torch.ones(1, 1, 4, 4), torch.ones(1, 2, 4, 4), torch.ones(1, 1, 4, 4), hidden, None)
        self.assertLessEqual(float(hidden.abs().max()), 1.0)
        self.assertTrue(bool(torch.isfinite(residual).all()))

    def test_the_graph_holds_the_weights_it_was_made_of(self):
        for scale in (2, 4):
            net = small(scale=scale)
            graph = midi_graph.build(net)
            again = from_onnx.recover_midi(graph, "tiny")
            self.assertEqual(again.config, net.config)
            for name, value in net.state_dict().items():
                self.assertLess(float((again.state_dict()[name] - value).abs().max()), 2e-3, name)
            kinds = {numpy_helper.to_array(t).dtype.name for t in graph.graph.initializer if t.name.endswith("a_weight")}
            self.assertEqual(kinds, {"float16"})
            states = [v.name for v in graph.graph.input if v.type.tensor_type.elem_type == TensorProto.FLOAT16]
            self.assertEqual(states, ["hidden", "before", "shown"])

    def test_odd_sizes_come_out_whole(self):
        frames = [(np.full((9, 13), 90, np.uint8), np.full((2, 5, 7), 120, np.uint8))] * 2
        for luma, chroma in evaluate.upscale(small(), frames, "toward"):
            self.assertEqual((luma.shape, chroma.shape), ((36, 52), (2, 18, 26)))


class Optimising(unittest.TestCase):
    def test_orthogonalised_matrices_have_singular_values_of_about_one(self):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(3, 8, 72)))
        self.assertGreater(float(values.min()), 0.5)
        self.assertLess(float(values.max()), 1.5)

    def test_muon_takes_square_convolutions_only(self):
        net = small()
        optimiser = Optimiser(torch.zeros(sum(p.numel() for p in net.parameters())), list(net.parameters()), 1.0)
        taken = sum(size for slices in optimiser.groups.values() for _, size in slices)
        self.assertEqual(taken, net.memory.numel() + net.body.numel())
        self.assertEqual(muon_rates("a:2,b"), {"a": 2.0, "b": 1.0})

    def test_training_lowers_the_loss_with_both(self):
        for options in (OPTIONS, {**OPTIONS, "muon": ""}):
            config, args = MidiConfig("tiny", channels=8, blocks=2), types.SimpleNamespace(**options)
            example = objective.Example(config, batch(), torch.float32, 0.05)
            example.update()
            trainer, losses = Trainer(config, example, 1, torch.device("cpu"), args), []
            for _ in range(25):
                trainer.advance(0.1)
                losses.append(float(trainer.loss))
            self.assertLess(losses[-1], 0.9 * losses[0])


if __name__ == "__main__":
    unittest.main()
