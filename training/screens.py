"""Pictures of screens to train on: an editor, a document, a terminal, a table, a slide and a web page, with this repository's own text.

Photographs have no thin strokes on flat ground, no one-pixel lines and no saturated edges; a network that never saw them erases them
from a page that stands still. Drawn with Pillow and Debian's fonts (fonts-dejavu-core, fonts-liberation, fonts-lato), when the pack is
prepared: it holds finished pictures.
"""

from __future__ import annotations

import glob
import os
import re

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS = "/usr/share/fonts/truetype"
MONOSPACED = ["dejavu/DejaVuSansMono.ttf", "liberation/LiberationMono-Regular.ttf", "dejavu/DejaVuSansMono-Bold.ttf"]
PROPORTIONAL = ["dejavu/DejaVuSans.ttf", "liberation/LiberationSans-Regular.ttf", "liberation/LiberationSerif-Regular.ttf",
                "lato/Lato-Regular.ttf", "liberation/LiberationSans-Bold.ttf", "dejavu/DejaVuSerif.ttf"]
WIDTH, HEIGHT = 1920, 1440
KINDS = ("editor", "document", "terminal", "table", "slide", "page")
DARK = [(30, 30, 30), (13, 17, 23), (40, 42, 54), (0, 43, 54)]
LIGHT = [(255, 255, 255), (250, 250, 245), (246, 248, 250), (253, 246, 227)]
ACCENTS = [(220, 50, 47), (38, 139, 210), (133, 153, 0), (181, 137, 0), (211, 54, 130), (42, 161, 152), (108, 113, 196), (203, 75, 22)]

Colour = tuple[int, int, int]


def texts(root: str) -> tuple[list[str], list[str]]:
    """Lines of code, and sentences, of the repository at `root`."""
    code, prose = [], []
    for pattern, lines in (("training/*.py", code), ("server/**/*.ts", code), ("docs/**/*.md", prose), ("*.md", prose)):
        for path in sorted(glob.glob(os.path.join(root, pattern), recursive=True))[:60]:
            with open(path, encoding="utf-8") as file:
                lines += [line.rstrip() for line in file if line.strip()]
    sentences = [re.sub(r"[|*`#>\[\]()-]+", " ", line).strip() for line in prose]
    return code, [line for line in sentences if len(line) > 40]


class Screen:
    """One picture while it is drawn."""

    def __init__(self, random: np.random.Generator, code: list[str], prose: list[str]):
        self.random, self.code, self.prose = random, code, prose
        self.dark = bool(random.random() < 0.4)
        self.ground = self.pick(DARK if self.dark else LIGHT)
        self.ink: Colour = (212, 212, 212) if self.dark else (36, 41, 47)
        self.image = Image.new("RGB", (WIDTH, HEIGHT), self.ground)
        self.draw = ImageDraw.Draw(self.image)

    def pick(self, items):
        return items[int(self.random.integers(len(items)))]

    def font(self, names: list[str], low: int, high: int) -> ImageFont.FreeTypeFont:
        return ImageFont.truetype(os.path.join(FONTS, self.pick(names)), int(self.random.integers(low, high + 1)))

    def accent(self) -> Colour:
        return self.pick(ACCENTS) if self.random.random() < 0.5 else self.ink

    def bar(self, height: int) -> None:
        """A title bar with tabs and buttons."""
        shade = tuple(int(c * 0.9) if not self.dark else min(255, c + 18) for c in self.ground)
        self.draw.rectangle((0, 0, WIDTH, height), fill=shade)
        font, x = self.font(PROPORTIONAL, 13, 17), 20
        for _ in range(int(self.random.integers(4, 10))):
            label = " ".join(self.pick(self.prose).split()[:2])[:18]
            self.draw.text((x, height / 2 - 9), label, font=font, fill=self.ink)
            x += int(font.getlength(label)) + 40
            self.draw.line((x - 20, 4, x - 20, height - 4), fill=self.ink)

    def editor(self) -> None:
        self.bar(36)
        font = self.font(MONOSPACED, 12, 19)
        step, numbers = int(font.size * 1.35), bool(self.random.random() < 0.7)
        first = int(self.random.integers(len(self.code)))
        for row, y in enumerate(range(44, HEIGHT - step, step)):
            line = self.code[(first + row) % len(self.code)]
            if numbers:
                self.draw.text((8, y), f"{row + 1:4d}", font=font, fill=(128, 128, 128))
            x = 70.0 if numbers else 12.0
            for token in re.findall(r"\s+|\w+|[^\w\s]+", line):
                self.draw.text((x, y), token, font=font, fill=self.accent() if token.strip() else self.ink)
                x += font.getlength(token)

    def document(self) -> None:
        margin = int(self.random.integers(100, 420))
        font, heading = self.font(PROPORTIONAL, 13, 24), self.font(PROPORTIONAL, 28, 48)
        y = 50
        while y < HEIGHT - 60:
            if self.random.random() < 0.15:
                self.draw.text((margin, y), " ".join(self.pick(self.prose).split()[:6]), font=heading, fill=self.accent())
                y += int(heading.size * 1.5)
            words, line = (self.pick(self.prose) + " " + self.pick(self.prose)).split(), ""
            for word in [*words, "\n"]:
                if word == "\n" or font.getlength(line + word) > WIDTH - 2 * margin:
                    self.draw.text((margin, y), line, font=font, fill=self.ink)
                    y += int(font.size * 1.4)
                    line = ""
                line += word + " "
            y += int(font.size * 0.8)

    def terminal(self) -> None:
        font = self.font(MONOSPACED, 13, 20)
        step = int(font.size * 1.2)
        for y in range(6, HEIGHT - step, step):
            line = self.pick(self.code if self.random.random() < 0.5 else self.prose)[: WIDTH // 9]
            if self.random.random() < 0.2:
                line = "$ " + line
            self.draw.text((8, y), line, font=font, fill=self.accent())

    def table(self) -> None:
        self.bar(60)
        font = self.font(PROPORTIONAL, 12, 17)
        step, column = int(font.size * 1.8), int(self.random.integers(90, 180))
        rule = tuple((g * 3 + i) // 4 for g, i in zip(self.ground, self.ink))
        for y in range(60, HEIGHT, step):
            self.draw.line((0, y, WIDTH, y), fill=rule)
        for x in range(0, WIDTH, column):
            self.draw.line((x, 60, x, HEIGHT), fill=rule)
            words = self.random.random() < 0.35
            for y in range(60, HEIGHT - step, step):
                cell = self.pick(self.prose).split()[0][:12] if words else f"{self.random.normal(0, 900):.2f}"
                if self.random.random() < 0.05:
                    self.draw.rectangle((x + 1, y + 1, x + column - 1, y + step - 1), fill=self.pick(ACCENTS))
                self.draw.text((x + 6, y + step / 2 - font.size / 2 - 2), cell, font=font, fill=self.ink)

    def slide(self) -> None:
        title, body = self.font(PROPORTIONAL, 56, 96), self.font(PROPORTIONAL, 26, 40)
        self.draw.text((120, 90), " ".join(self.pick(self.prose).split()[:4]), font=title, fill=self.accent())
        for row in range(6):
            self.draw.text((140, 260 + row * 64), "• " + " ".join(self.pick(self.prose).split()[:8]), font=body, fill=self.ink)
        x0, y0, x1, y1 = 140, 720, 900, 1340
        self.draw.rectangle((x0, y0, x1, y1), outline=self.ink)
        bars = int(self.random.integers(5, 20))
        for i in range(bars):
            x = x0 + (x1 - x0) * i / bars + 6
            top = y1 - self.random.random() * (y1 - y0 - 30)
            self.draw.rectangle((x, top, x + (x1 - x0) / bars - 8, y1), fill=self.pick(ACCENTS))
        for _ in range(4):
            points = [(1000 + 800 * i / 60, 1030 + 250 * float(v)) for i, v in enumerate(np.cumsum(self.random.normal(0, 0.13, 61)))]
            self.draw.line(points, fill=self.pick(ACCENTS), width=int(self.random.integers(1, 4)))
        for _ in range(5):
            x, y, r = self.random.integers(1000, 1800), self.random.integers(250, 620), self.random.integers(10, 90)
            self.draw.ellipse((x - r, y - r, x + r, y + r), outline=self.pick(ACCENTS), width=int(self.random.integers(1, 6)))

    def page(self) -> None:
        self.bar(64)
        small, font, heading = self.font(PROPORTIONAL, 11, 13), self.font(PROPORTIONAL, 14, 18), self.font(PROPORTIONAL, 22, 34)
        for left in range(60, WIDTH - 400, 470):
            y = 100
            while y < HEIGHT - 260:
                ground = self.pick(ACCENTS)
                noise = self.random.normal(0, 1, (24, 43, 3)) * 40 + np.array(ground)
                picture = Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).resize((430, 120), Image.BICUBIC)
                self.image.paste(picture, (left, y))
                self.draw.text((left, y + 128), " ".join(self.pick(self.prose).split()[:4])[:26], font=heading, fill=self.ink)
                for row in range(4):
                    self.draw.text((left, y + 172 + row * 22), self.pick(self.prose)[:52], font=font, fill=self.ink)
                self.draw.text((left, y + 262), self.pick(self.prose)[:60], font=small, fill=(120, 120, 120))
                self.draw.rectangle((left + 320, y + 256, left + 430, y + 280), outline=self.accent())
                y += 310


def draw(seed: int, root: str) -> np.ndarray:
    """BGR (HEIGHT, WIDTH, 3)."""
    random = np.random.default_rng(seed)
    screen = Screen(random, *texts(root))
    getattr(screen, KINDS[seed % len(KINDS)])()
    return np.asarray(screen.image)[..., ::-1].copy()
