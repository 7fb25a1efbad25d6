"""What Pillow and ONNX Runtime's own Python make of real photographs, for tests/model.rs to compare with.

Usage: python model.py MODEL.onnx FOLDER

Writes into FOLDER, for each photograph, NAME.yuv (its planes, YUV 4:2:0, as a decoder would give them), NAME.rgb (the
photograph as Pillow scales it to 224x224, from the original RGB), and index.json with sizes, ranges and scores.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from skimage import data


def planes(rgb, full_range):
    """Y, Cb and Cr with 2x2 means as chroma; BT.709 from 720 rows on."""
    kr, kb = (0.2126, 0.0722) if rgb.shape[0] >= 720 else (0.299, 0.114)
    red, green, blue = np.moveaxis(rgb.astype(float), 2, 0)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = [(blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))]
    if not full_range:
        luma = 16 + luma * 219 / 255
        chroma = [plane * 224 / 255 for plane in chroma]
    odd = [(0, rgb.shape[0] % 2), (0, rgb.shape[1] % 2)]
    padded = [np.pad(plane, odd, mode="edge") for plane in chroma]
    halved = [128 + (p[::2, ::2] + p[1::2, ::2] + p[::2, 1::2] + p[1::2, 1::2]) / 4 for p in padded]
    return [np.clip(np.round(plane), 0, 255).astype(np.uint8) for plane in (luma, *halved)]


def main():
    model, folder = sys.argv[1], Path(sys.argv[2])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    coffee = Image.fromarray(data.coffee())
    photographs = [
        ("astronaut", data.astronaut(), True),
        ("coffee", np.asarray(coffee), False),
        ("rocket", data.rocket(), False),
        ("cat-361", data.chelsea()[:, :361], True),
        ("coffee-720", np.asarray(coffee.resize((1280, 720), Image.Resampling.LANCZOS)), False),
        ("coffee-small", np.asarray(coffee.resize((160, 90), Image.Resampling.LANCZOS)), False),
    ]
    index = []
    for name, rgb, full_range in photographs:
        small = np.asarray(Image.fromarray(rgb).resize((224, 224), Image.Resampling.BILINEAR))
        (folder / f"{name}.yuv").write_bytes(b"".join(plane.tobytes() for plane in planes(rgb, full_range)))
        (folder / f"{name}.rgb").write_bytes(small.tobytes())
        tensor = small.astype(np.float32).transpose(2, 0, 1)[None]
        scores = session.run(["probabilities"], {"image": tensor})[0][0]
        height, width = rgb.shape[:2]
        index.append({"name": name, "width": width, "height": height, "full_range": full_range,
                      "scores": [float(score) for score in scores]})
    (folder / "index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()
