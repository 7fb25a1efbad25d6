"""Writes the photographs that come with scikit-image and scikit-learn into a folder, as PNG: material for `make fire-drill`.

Usage: python photographs.py FOLDER

All of them are harmless, and some are of the kind that a model may take for more than it is: tissue, an eye's ground, dark
skies, textures, pages of text.
"""

import sys
from pathlib import Path

import skimage
import sklearn
from PIL import Image

FOLDERS = [
    (Path(skimage.__file__).parent / "data", [
        "astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "color.png",
        "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "page.png",
        "retina.jpg", "rocket.jpg", "text.png",
    ]),
    (Path(sklearn.__file__).parent / "datasets" / "images", ["china.jpg", "flower.jpg"]),
]


def main():
    out = Path(sys.argv[1])
    for folder, names in FOLDERS:
        for name in names:
            with Image.open(folder / name) as photograph:
                photograph.convert("RGB").save(out / f"{Path(name).stem}.png")


if __name__ == "__main__":
    main()
