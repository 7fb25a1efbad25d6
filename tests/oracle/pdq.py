"""Asks PyPI's pdqhash about real photographs of many sizes, and about frames of the clips.

Usage: pdq.py FOLDER CLIPS

Writes FOLDER/cases.tsv, one line a case: file, kind, width, height, hash, quality. Each file holds raw pixels, 8 bits a
channel, without gaps. Kinds: rgb; grey; limited, which is luma squeezed into 16-235, and the oracle was asked about what
it stands for in full range. What is grey is given to the oracle as three equal channels.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pdqhash
import skimage.data
import sklearn.datasets
from PIL import Image

SIZES = [
    (5, 5), (5, 400), (400, 5), (6, 9), (63, 65), (64, 64), (64, 63), (65, 64), (100, 75), (127, 127), (128, 128),
    (128, 129), (129, 128), (160, 90), (257, 255), (300, 200), (320, 240), (333, 77), (426, 240), (512, 512),
    (513, 511), (640, 360), (641, 479), (720, 1280), (854, 480), (1023, 769),
]
HUGE = [(1280, 720), (1920, 1080), (1080, 1920), (1919, 1079), (2560, 1440), (3840, 2160), (4001, 301)]
CROPS = 1200
# Clip, every which frame, width and height.
FRAMES = [
    ("bigbuckbunny", 12, 1280, 720), ("bigbuckbunny", 24, 1920, 1080), ("bikes", 5, 640, 272), ("bikes", 40, 1920, 1080),
    ("bikes", 10, 854, 480), ("carphone", 12, 176, 144), ("carphone", 6, 719, 575),
]
TINY = [(1, 1), (4, 4), (4, 300), (300, 4), (3, 64)]


def photographs():
    """Photographs that ship inside the packages: nothing is fetched."""
    for name in ["astronaut", "camera", "coffee", "chelsea", "rocket", "coins", "moon", "page", "text", "clock"]:
        try:
            yield name, Image.fromarray(getattr(skimage.data, name)())
        except (AttributeError, ModuleNotFoundError, OSError):
            continue
    for name in ["china.jpg", "flower.jpg"]:
        yield name, Image.fromarray(sklearn.datasets.load_sample_image(name))


def crops(found):
    """Pieces of photographs, of any size and shape, each seen once: no box and no rounding is left out."""
    random = np.random.default_rng(7)
    for number in range(CROPS):
        name, photograph = found[number % len(found)]
        width, height = (int(random.integers(5, side + 1)) for side in photograph.size)
        left, top = (int(random.integers(0, whole - part + 1)) for whole, part in zip(photograph.size, (width, height)))
        yield f"crop-{name}", photograph.crop((left, top, left + width, top + height))


def frames(clips):
    """Luma planes of video as a decoder gives them, in limited range."""
    for clip, every, width, height in FRAMES:
        keep = f"select=not(mod(n\\,{every})),scale={width}:{height}"
        command = ["ffmpeg", "-v", "error", "-i", clips / f"{clip}.mp4", "-vf", keep, "-vsync", "0"]
        command += ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
        raw = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        chroma = 2 * ((width + 1) // 2) * ((height + 1) // 2)
        for frame in np.frombuffer(raw, dtype=np.uint8).reshape(-1, width * height + chroma):
            yield clip, frame[: width * height].reshape(height, width)


def plain():
    """Pictures that show nothing, or next to nothing."""
    for value in [0, 1, 77, 128, 254, 255]:
        yield f"plain{value}", Image.new("RGB", (256, 144), (value, value, value))
    # The hash of one plain colour is nothing but rounding: it tells whether every sum is rounded as the oracle rounds it.
    random = np.random.default_rng(1)
    for number in range(60):
        width, height, *colour = (int(n) for n in random.integers([5, 5, 0, 0, 0], [700, 400, 256, 256, 256]))
        yield f"colour{number}", Image.new("RGB", (width, height), tuple(colour))
    ramp = np.tile(np.linspace(0, 255, 640).astype(np.uint8), (360, 1))
    yield "ramp", Image.fromarray(ramp)
    yield "ramp-down", Image.fromarray(np.ascontiguousarray(ramp.T))
    checks = (np.indices((480, 480)).sum(axis=0) % 2 * 255).astype(np.uint8)
    yield "checks", Image.fromarray(checks)
    yield "noise", Image.fromarray(np.random.default_rng(1).integers(0, 256, (300, 500, 3), dtype=np.uint8))


def cases():
    found = list(photographs())
    if len(found) < 6:
        sys.exit(f"only {len(found)} photographs found in scikit-image and scikit-learn")
    for number, (name, photograph) in enumerate(found):
        yield name, photograph
        for size in SIZES:
            yield name, photograph.resize(size, Image.Resampling.BICUBIC)
        # The large sizes take the oracle longest: two photographs each share them out.
        for size in [HUGE[number % len(HUGE)], HUGE[(number + 3) % len(HUGE)]]:
            yield name, photograph.resize(size, Image.Resampling.BICUBIC)
    for size in TINY:
        yield "tiny", found[0][1].resize(size)
    yield from plain()
    yield from crops(found)


def full_range(limited):
    return np.clip(np.round((limited.astype(np.float64) - 16) * 255 / 219), 0, 255).astype(np.uint8)


def three(grey):
    return np.ascontiguousarray(np.dstack([grey] * 3))


def views(name, image):
    """The picture as kind, pixels to write, and pixels for the oracle. A crop is seen in one way only."""
    once = name.startswith("crop-")
    rgb = np.ascontiguousarray(np.asarray(image.convert("RGB")))
    if not once or image.width % 2 == 0:
        yield "rgb", rgb, rgb
    grey = np.asarray(image.convert("L"))
    if not once or image.width % 2 == 1:
        yield "grey", grey, three(grey)
    if not once and grey.size < 300_000:
        limited = np.round(grey * (219 / 255) + 16).astype(np.uint8)
        yield "limited", limited, three(full_range(limited))


def everything(clips):
    for name, image in cases():
        for kind, pixels, channels in views(name, image):
            yield name, kind, pixels, channels
    for name, limited in frames(clips):
        yield name, "limited", limited, three(full_range(limited))


def main(folder, clips):
    lines = []
    for name, kind, pixels, channels in everything(clips):
        bits, quality = pdqhash.compute(channels)
        text = np.packbits(bits.astype(np.uint8)).tobytes().hex()
        height, width = pixels.shape[:2]
        file = f"{len(lines):04}-{name}-{width}x{height}.{kind}"
        (folder / file).write_bytes(pixels.tobytes())
        lines.append("\t".join([file, kind, str(width), str(height), text, str(quality)]))
    (folder / "cases.tsv").write_text("\n".join(lines) + "\n")


main(Path(sys.argv[1]), Path(sys.argv[2]))
