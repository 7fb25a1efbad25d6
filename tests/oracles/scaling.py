"""What Pillow makes of real photographs by every resize rule and filter, for tests/scaling.rs to compare with.

Usage: python scaling.py FOLDER

Writes into FOLDER, for each photograph in shades of grey, NAME.grey, its bytes; for each way to scale it, NUMBER.grey, what
Pillow makes of it: resized whole, then cropped at the centre as torchvision's CenterCrop does; and index.json, which says
what is what. Shades are 40 to 215: Pillow cuts off what a cubic filter overshoots after each of its two passes, and
nobody else does.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def photographs():
    coffee = Image.fromarray(data.coffee()).convert("L")
    yield "coffee", coffee
    yield "coffee-1080", coffee.resize((1920, 1080), Image.Resampling.LANCZOS)
    yield "coffee-small", coffee.resize((160, 90), Image.Resampling.LANCZOS)
    yield "cat-upright", Image.fromarray(data.chelsea()[:, :171]).convert("L")


def resized(photograph, rule, side, taken, resample):
    """As the rule says: (columns, rows) of `taken`."""
    width, height = photograph.size
    if rule == "warp":
        return photograph.resize(taken, resample)
    if rule == "warp_crop":
        whole = (side, side)
    elif width < height:
        whole = (side, int(side * height / width))
    else:
        whole = (int(side * width / height), side)
    left, top = (int(round((whole[i] - taken[i]) / 2)) for i in (0, 1))
    return photograph.resize(whole, resample).crop((left, top, left + taken[0], top + taken[1]))


def main():
    folder = Path(sys.argv[1])
    index = []
    for name, photograph in photographs():
        shades = np.asarray(photograph).astype(float)
        photograph = Image.fromarray(np.round(40 + shades * 175 / 255).astype(np.uint8))
        (folder / f"{name}.grey").write_bytes(photograph.tobytes())
        for rule, side, taken in [
            ("warp", 0, (224, 224)),
            ("warp", 0, (320, 192)),
            ("warp_crop", 256, (224, 224)),
            ("warp_crop", 331, (288, 320)),
            ("crop", 256, (224, 224)),
            ("crop", 225, (224, 200)),
        ]:
            for filter_name, resample in FILTERS.items():
                small = resized(photograph, rule, side, taken, resample)
                file = f"{len(index)}.grey"
                (folder / file).write_bytes(small.tobytes())
                index.append({"name": name, "size": photograph.size, "rule": rule, "side": side, "taken": taken,
                              "filter": filter_name, "file": file})
    (folder / "index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()
