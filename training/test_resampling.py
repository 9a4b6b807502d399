"""Self-checks that need numpy alone: python3 -m unittest training/test_resampling.py"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from resampling import cubic_kernel, resize_matrix  # noqa: E402


class Resampling(unittest.TestCase):
    def test_the_kernel_is_keys_cubic(self):
        self.assertEqual(cubic_kernel(np.array([0.0, 1.0, 2.0, 3.0])).tolist(), [1.0, 0.0, 0.0, 0.0])
        self.assertAlmostEqual(float(cubic_kernel(np.array(0.5))), 0.5625)

    def test_rows_sum_to_one_and_keep_a_ramp(self):
        for source, target in ((64, 16), (16, 64), (45, 15)):
            matrix = resize_matrix(source, target)
            np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
            border = max(3, 2 * target // source)  # mirrored there
            ramp = (matrix @ np.arange(source, dtype=np.float32))[border:-border]
            np.testing.assert_allclose(np.diff(ramp), source / target, atol=1e-4)

    def test_shrinking_is_antialiased(self):
        stripes = np.arange(64) % 2
        self.assertLess(float(np.ptp((resize_matrix(64, 16) @ stripes)[2:-2])), 0.02)


class Trimming(unittest.TestCase):
    def test_clips_without_their_streams_are_dropped(self):
        with tempfile.TemporaryDirectory() as pack:
            os.makedirs(os.path.join(pack, "streams"))
            streams = [[{"scale": 4, "codec": "h264", "file": f"streams/{i}.mp4"}] for i in (0, 1)]
            clips = [{"id": i, "kind": "synth", "validation": False, "streams": plans} for i, plans in enumerate(streams)]
            with open(os.path.join(pack, "clips.json"), "w") as file:
                json.dump({"clips": clips}, file)
            open(os.path.join(pack, "streams", "1.mp4"), "w").close()
            command = [sys.executable, os.path.join(HERE, "trim.py"), "--pack", pack, "--finished"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            with open(os.path.join(pack, "clips.json")) as file:
                self.assertEqual([clip["id"] for clip in json.load(file)["clips"]], [1])


if __name__ == "__main__":
    unittest.main()
