"""High-resolution training clips, rendered the same way on every machine.

A clip is described by plain numbers (no random generator is consulted here), so the machine that compresses the low-resolution
side and the machine that trains render the same high-resolution frames. A clip is either `synth` (a photograph under a moving
virtual camera, with independently moving cut-outs and text in front) or `video` (frames of a real clip).

All frames are I420, uint8: luma (T, H, W) and chroma (T, 2, H/2, W/2), chroma siting treated as centred.
"""

from __future__ import annotations

import math
import os

import cv2
import numpy as np

cv2.setNumThreads(1)


def to_i420(bgr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """BGR uint8 (H, W, 3), H and W even -> luma (H, W), chroma (2, H/2, W/2): BT.601, limited range."""
    height, width = bgr.shape[:2]
    packed = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    return packed[:height], packed[height:].reshape(2, height // 2, width // 2)


class PhotoCache:
    """Decoded photographs with half-size levels, so a zoomed-out view stays free of aliasing."""

    def __init__(self, folder: str, limit: int = 6):
        self.folder, self.limit, self.levels = folder, limit, {}

    def level(self, name: str, zoom: float) -> tuple[np.ndarray, float]:
        """The level whose pixels are at most 1.5 times finer than the view's, and that level's scale."""
        if name not in self.levels:
            if len(self.levels) >= self.limit:
                self.levels.pop(next(iter(self.levels)))
            image = cv2.imread(os.path.join(self.folder, name), cv2.IMREAD_COLOR)
            if image is None:
                raise FileNotFoundError(f"cannot read photograph {name} in {self.folder}: run training/prepare.py again")
            self.levels[name] = [image]
        levels = self.levels[name]
        index = 0
        while zoom / 2**index > 1.5:
            index += 1
            if len(levels) <= index:
                last = levels[-1]
                levels.append(cv2.resize(last, (last.shape[1] // 2, last.shape[0] // 2), interpolation=cv2.INTER_AREA))
        return levels[index], 1 / 2**index


def view(image: np.ndarray, scale: float, pose: dict, width: int, height: int) -> np.ndarray:
    """A width x height view: centre (x, y) in full-resolution pixels, `zoom` source pixels per view pixel, `angle` radians."""
    zoom, angle = pose["zoom"] * scale, pose["angle"]
    cos, sin = zoom * math.cos(angle), zoom * math.sin(angle)
    x, y = pose["x"] * scale, pose["y"] * scale
    matrix = np.array(
        [[cos, -sin, x - cos * width / 2 + sin * height / 2], [sin, cos, y - sin * width / 2 - cos * height / 2]], np.float64
    )
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def pose_at(path: dict, t: float) -> dict:
    """Camera or layer pose at frame t: drift, two sways and a smooth zoom."""
    sway = [a * math.sin(w * t + p) for a, w, p in path["sway"]]
    return {
        "x": path["x"] + path["vx"] * t + sway[0],
        "y": path["y"] + path["vy"] * t + sway[1],
        "zoom": path["zoom"] * math.exp(path["zoom_rate"] * t),
        "angle": path["angle"] + path["spin"] * t,
    }


def draw_layer(frame: np.ndarray, layer: dict, t: int, photos: PhotoCache) -> None:
    """Blend one moving cut-out of another photograph (soft-edged blob) over `frame`, in place."""
    height, width = frame.shape[:2]
    size_x, size_y = layer["width"], layer["height"]
    motion = pose_at(layer["path"], t)
    left, top = motion["x"] - size_x / 2, motion["y"] - size_y / 2
    whole_x, whole_y = math.floor(left), math.floor(top)
    image, scale = photos.level(layer["photo"], layer["zoom"])
    # The cut-out keeps its subpixel position: the texture moves with the mask.
    pose = {"x": layer["x"] + (whole_x - left) * layer["zoom"], "y": layer["y"] + (whole_y - top) * layer["zoom"],
            "zoom": layer["zoom"], "angle": motion["angle"]}
    texture = view(image, scale, pose, size_x, size_y)
    ys, xs = np.mgrid[0:size_y, 0:size_x].astype(np.float32)
    dx, dy = (xs - size_x / 2 + whole_x - left) / (size_x / 2), (ys - size_y / 2 + whole_y - top) / (size_y / 2)
    theta = np.arctan2(dy, dx)
    radius = 0.8 + sum(a * np.sin(k * theta + p) for k, a, p in layer["blob"])
    mask = np.clip((radius - np.sqrt(dx * dx + dy * dy)) * min(size_x, size_y) / (2 * layer["soft"]) + 0.5, 0, 1)[..., None]
    x0, y0, x1, y1 = max(0, whole_x), max(0, whole_y), min(width, whole_x + size_x), min(height, whole_y + size_y)
    if x1 <= x0 or y1 <= y0:
        return
    inner = np.s_[y0 - whole_y : y1 - whole_y, x0 - whole_x : x1 - whole_x]
    target = frame[y0:y1, x0:x1]
    target[:] = np.rint(target + mask[inner] * (texture[inner].astype(np.float32) - target)).astype(np.uint8)


def draw_text(frame: np.ndarray, text: dict, t: int) -> None:
    """Lines of antialiased text that move in sixteenths of a pixel."""
    motion = pose_at(text["path"], t)
    for i, line in enumerate(text["lines"]):
        origin = (int(round(motion["x"] * 16)), int(round((motion["y"] + i * text["leading"]) * 16)))
        if text["outline"]:
            put_text(frame, line, origin, text, text["outline_colour"], text["thickness"] + 2)
        put_text(frame, line, origin, text, text["colour"], text["thickness"])


def put_text(frame: np.ndarray, line: str, origin: tuple, text: dict, colour: list, thickness: int) -> None:
    # putText has whole-pixel origins: draw on a patch at that origin, then shift the patch by the fraction.
    (width, height), base = cv2.getTextSize(line, text["font"], text["size"], thickness)
    pad = thickness + 4
    mask = np.zeros((height + base + 2 * pad, width + 2 * pad), np.uint8)
    cv2.putText(mask, line, (pad, pad + height), text["font"], text["size"], 255, thickness, cv2.LINE_AA)
    shift = np.array([[1, 0, (origin[0] % 16) / 16], [0, 1, (origin[1] % 16) / 16]], np.float64)
    mask = cv2.warpAffine(mask, shift, (mask.shape[1] + 1, mask.shape[0] + 1), flags=cv2.INTER_LINEAR)
    left, top = origin[0] // 16 - pad, origin[1] // 16 - pad - height
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(frame.shape[1], left + mask.shape[1]), min(frame.shape[0], top + mask.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    alpha = mask[y0 - top : y1 - top, x0 - left : x1 - left, None].astype(np.float32) / 255
    target = frame[y0:y1, x0:x1]
    target[:] = np.rint(target + alpha * (np.array(colour, np.float32) - target)).astype(np.uint8)


def render_synth(clip: dict, photos: PhotoCache) -> tuple[np.ndarray, np.ndarray]:
    width, height, count = clip["width"], clip["height"], clip["frames"]
    luma = np.empty((count, height, width), np.uint8)
    chroma = np.empty((count, 2, height // 2, width // 2), np.uint8)
    for t in range(count):
        pose = pose_at(clip["camera"], t)
        image, scale = photos.level(clip["photo"], clip["camera"]["zoom"])
        frame = view(image, scale, pose, width, height)
        for layer in clip["layers"]:
            draw_layer(frame, layer, t, photos)
        for text in clip["texts"]:
            draw_text(frame, text, t)
        luma[t], chroma[t] = to_i420(frame)
    return luma, chroma


def render_video(clip: dict, folder: str) -> tuple[np.ndarray, np.ndarray]:
    width, height, count = clip["width"], clip["height"], clip["frames"]
    reader = cv2.VideoCapture(os.path.join(folder, clip["file"]))
    luma = np.empty((count, height, width), np.uint8)
    chroma = np.empty((count, 2, height // 2, width // 2), np.uint8)
    for t in range(clip["start"] + count):
        good, frame = reader.read()
        if not good:
            raise RuntimeError(f"{clip['file']}: frame {t} cannot be decoded")
        if t < clip["start"]:
            continue
        x, y, w, h = clip["crop"]
        frame = frame[y : y + h, x : x + w]
        if (w, h) != (width, height):
            frame = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
        luma[t - clip["start"]], chroma[t - clip["start"]] = to_i420(np.ascontiguousarray(frame))
    return luma, chroma


def render(clip: dict, folder: str, photos: PhotoCache) -> tuple[np.ndarray, np.ndarray]:
    """The clip's high-resolution frames: luma (T, H, W), chroma (T, 2, H/2, W/2)."""
    if clip["kind"] == "synth":
        return render_synth(clip, photos)
    return render_video(clip, folder)


def read_stream(path: str, width: int, height: int, skip: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Decode a compressed low-resolution stream, without its first `skip` frames."""
    reader = cv2.VideoCapture(path)
    luma = np.empty((count, height, width), np.uint8)
    chroma = np.empty((count, 2, height // 2, width // 2), np.uint8)
    for t in range(skip + count):
        good, frame = reader.read()
        if not good:
            raise RuntimeError(f"{path}: frame {t} of {skip + count} cannot be decoded")
        if t >= skip:
            luma[t - skip], chroma[t - skip] = to_i420(frame)
    return luma, chroma
