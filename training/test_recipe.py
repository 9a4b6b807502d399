"""Self-checks in seconds, without data or a GPU: python3 -m unittest discover -s training"""

from __future__ import annotations

import os
import types
import unittest

import numpy as np
import onnx
import torch

import from_onnx
import model as modules
import objective
from pans import Pans
from photographs import Photograph, Photographs

MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models")


def photographs() -> Photographs:
    random = np.random.default_rng(2)
    made = Photographs.__new__(Photographs)
    made.device, made.matrices = torch.device("cpu"), {}
    made.photographs = [Photograph(random.integers(0, 256, (480, 640, 3)).astype(np.uint8), made.device) for _ in range(2)]
    return made


class Recovered(unittest.TestCase):
    def test_shipped_models_come_back_integer_by_integer(self):
        for folder, name in (("nano", "nano-skip"), ("mini", "mini-skip"), ("nano-x2", "nano-x2")):
            shipped = onnx.load(os.path.join(MODELS, folder, folder + ".onnx"))
            net = from_onnx.recover(shipped, name)
            found = from_onnx.differences(net, shipped)
            self.assertEqual((found["weights"], found["biases"]), (0, 0), name)
            self.assertLess(found["scale"], 1e-6)


class Sharp(unittest.TestCase):
    def test_pans_move_by_whole_pixels(self):
        pans = Pans(photographs())
        planes = pans.photographs.photographs[0].levels[0][1]
        clip = pans.cut(planes[0], np.array([10, 13]), np.array([20, 18]), 64)
        self.assertTrue(torch.equal(clip[1, :, :-3, 2:], clip[0, :, 3:, :-2]))

    def test_sides_belong_together(self):
        # Noise, shrunk by bicubic: the low side must be what shrinking the high side gives, margin or not.
        pans = Pans(photographs())
        for seed in range(4):
            low, low_chroma, high, high_chroma = pans.draw(np.random.default_rng(seed), 4, 32, 3)
            self.assertEqual((low.shape, high.shape), ((3, 32, 32), (3, 128, 128)))
            self.assertEqual((low_chroma.shape, high_chroma.shape), ((3, 2, 16, 16), (3, 2, 64, 64)))
            again = pans.photographs.shrink(high, 4)
            self.assertTrue(torch.equal(again[:, 4:-4, 4:-4], low[:, 4:-4, 4:-4]))


class Loss(unittest.TestCase):
    def test_bend_grows_to_its_end_and_keeps_typical_gradients(self):
        self.assertEqual(objective.luma_bend(0.2, 0.3, 0.06), objective.BEND)
        self.assertAlmostEqual(objective.luma_bend(1.0, 0.3, 0.06), 0.06)
        self.assertAlmostEqual(objective.luma_bend(0.0, -3, 0.06), 0.06)
        e = objective.TYPICAL_ERROR
        slopes = [objective.luma_gain(b) * e / (e * e + b * b) ** 0.5 for b in (objective.BEND, 0.06)]
        self.assertAlmostEqual(*slopes)

    def test_perfect_output_has_the_least_loss(self):
        config = modules.Config("tiny")
        target = torch.randn(1, 2, config.luma_out + config.chroma_out, 4, 4) * 0.1
        example = types.SimpleNamespace(target=target, weight=torch.ones(1, 1, 1, 1, 1), compressed=torch.zeros(1, 1, 1, 1, 1))
        args = types.SimpleNamespace(bend_from=0.3, bend_end=0.06, colour=1.0, flicker=0.2, flicker_compressed=0.5, gradient=0.03)
        loss = objective.Objective(config, example, args, torch.device("cpu"))
        loss.schedule(1.0)
        self.assertLess(float(loss(target)), float(loss(target + 0.01)))


if __name__ == "__main__":
    unittest.main()
