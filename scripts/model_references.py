"""What Pillow, numpy and ONNX Runtime's own Python make of the reference pictures: the [[reference]] entries of a manifest.

Usage: python scripts/model_references.py PICTURES MANIFEST MODEL.onnx [--write]

PICTURES is a folder that `sluicegate model references` has filled. The entries go to standard output, or with --write to
the end of the manifest, in the place of those there. None of Sluicegate's own code is used, so that an entry that
`sluicegate model verify` confirms was found in two ways. The manifest's [input] is believed here: compare its figures
with what the model's authors publish before recording anything.
"""

import sys
import tomllib
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

# Ours starts from video, whose colours are halved and rounded to 8 bits: so far apart may the two be.
WITHIN_SCORES = 0.04
# Values of a vector of length 1 are the larger the fewer they are.
WITHIN_LONG_EMBEDDING, WITHIN_EMBEDDING, LONG = 0.02, 0.04, 1000
# The first values of an embedding, scaled to length 1: enough to tell a right one.
VALUES = 32
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def tensor(path, spec):
    """The picture as [input] describes it, as a batch of one."""
    rows_first = spec["layout"] == "nhwc"
    height, width = spec["shape"][1:3] if rows_first else spec["shape"][2:4]
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    resample, side = FILTERS[spec.get("filter", "bilinear")], spec.get("side")
    if spec["resize"] == "warp":
        picture = picture.resize((width, height), resample)
    elif spec["resize"] == "warp_crop":
        picture = centre(picture.resize((side, side), resample), width, height)
    else:
        scale = side / min(picture.size)
        picture = picture.resize(tuple(round(length * scale) for length in picture.size), resample)
        picture = centre(picture, width, height)
    values = np.asarray(picture)
    if spec["colour"] == "bgr":
        values = values[..., ::-1]
    if spec["dtype"] == "f32":
        lowest, highest = spec["range"]
        values = lowest + values.astype(np.float32) / 255 * (highest - lowest)
        values = (values - spec.get("mean", [0, 0, 0])) / spec.get("deviation", [1, 1, 1])
        values = values.astype(np.float32)
    return np.ascontiguousarray(values if rows_first else values.transpose(2, 0, 1))[None]


def centre(picture, width, height):
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def scores(values, spec):
    """A score for each label, in order."""
    kind = spec.get("values", "probabilities")
    if kind == "logits":
        lifted = np.exp(values - values.max())
        values = lifted / lifted.sum()
    elif kind == "independent_logits":
        values = 1 / (1 + np.exp(-values))
    if "categories" in spec:
        # A table's keys are read in the order of the alphabet, there as here.
        return [values[spec["categories"][name]].sum() for name in sorted(spec["categories"])]
    return list(values)


def entries(pictures, manifest, model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    text = []
    for path in sorted(pictures.glob("*.png")):
        outputs = {"scores": manifest.get("output"), "embedding": manifest.get("embedding")}
        for of, output in outputs.items():
            if output is None:
                continue
            (values,) = session.run([output["name"]], {manifest["input"]["name"]: tensor(path, manifest["input"])})
            if of == "scores":
                said, within = scores(values[0], output), WITHIN_SCORES
            else:
                said, within = (values[0] / np.linalg.norm(values[0]))[:VALUES], within_embedding(values[0])
            lines = ["[[reference]]", f'picture = "{path.stem}"'] + ([f'of = "{of}"'] if of == "embedding" else [])
            text.append("\n".join(lines + [f"values = {listed(said)}", f"within = {within}"]) + "\n")
    return "\n".join(text)


def within_embedding(values):
    return WITHIN_LONG_EMBEDDING if len(values) >= LONG else WITHIN_EMBEDDING


def listed(values):
    """On lines of at most 120 letters."""
    words = [f"{float(value):.4f}" for value in values]
    if len(words) <= 12:
        return f"[{', '.join(words)}]"
    rows = [words[at:at + 8] for at in range(0, len(words), 8)]
    return "[\n" + "".join(f"    {', '.join(row)},\n" for row in rows) + "]"


HEADING = "# What Pillow and ONNX Runtime's own Python say of the reference pictures: scripts/model_references.py.\n"


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--write"]
    if len(arguments) != 3:
        sys.exit(__doc__)
    pictures, path, model = Path(arguments[0]), Path(arguments[1]), arguments[2]
    text = path.read_text()
    made = HEADING + entries(pictures, tomllib.loads(text), model)
    if "--write" not in sys.argv:
        print(made, end="")
        return
    path.write_text(text.split(HEADING)[0].rstrip() + "\n\n" + made)


if __name__ == "__main__":
    main()
