"""Writes tiny ONNX models, each of which does one thing that a model may do, for tests/model_kinds.rs.

Usage: python tiny_onnx.py FOLDER

Nothing but the standard library is needed: an ONNX file is a protobuf, which is a list of numbered fields. The numbers are
those of onnx.proto3 (https://github.com/onnx/onnx). Each model takes pictures of 2 x 2 and works with their mean red, green
and blue.
"""

import struct
import sys
from pathlib import Path

FLOAT, UINT8, INT64 = 1, 2, 7


def varint(number):
    number &= (1 << 64) - 1
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, str):
        value = value.encode()
    return varint(number << 3 | 2) + varint(len(value)) + value


def fields(*pairs):
    return b"".join(field(number, value) for number, value in pairs)


def tensor(name, shape, values, kind=FLOAT):
    raw = struct.pack(f"<{len(values)}{'f' if kind == FLOAT else 'q'}", *values)
    return fields(*((1, side) for side in shape), (2, kind), (8, name), (9, raw))


def ints(name, values):
    return fields((1, name), *((8, value) for value in values), (20, 7))


def integer(name, value):
    return fields((1, name), (3, value), (20, 2))


def node(operator, inputs, outputs, *attributes):
    return fields(
        *((1, name) for name in inputs),
        *((2, name) for name in outputs),
        (4, operator),
        *((5, attribute) for attribute in attributes),
    )


def value(name, kind, shape):
    """A side is a number, or a word where it is free."""
    sides = [field(1, fields((1, side) if isinstance(side, int) else (2, side))) for side in shape]
    return fields((1, name), (2, field(1, fields((1, kind), (2, b"".join(sides))))))


def model(nodes, constants, picture, outputs, opset=13, ir=8):
    graph = fields(
        *((1, one) for one in nodes),
        (2, "tiny"),
        *((5, one) for one in constants),
        (11, picture),
        *((12, one) for one in outputs),
    )
    return fields((1, ir), (2, "tiny_onnx.py"), (7, graph), (8, fields((2, opset))))


PICTURE = value("image", FLOAT, ["batch", 3, 2, 2])
# Mean red, green and blue as [batch, 3].
MEANS = [node("GlobalAveragePool", ["image"], ["pooled"]), node("Flatten", ["pooled"], ["means"], integer("axis", 1))]


def linear(columns, output="logits"):
    """The means times a matrix, given by its columns."""
    rows = [column[row] for row in range(3) for column in columns]
    weights = tensor("weights", [3, len(columns)], rows)
    return MEANS + [node("MatMul", ["means", "weights"], [output])], [weights]


def reshaped(source, sides):
    """`source` as a tensor of `sides`, which only running it can tell: ONNX Runtime works out what is constant beforehand."""
    nodes = [
        node("ReduceMean", ["image"], ["mean"], ints("axes", [0, 1, 2, 3]), integer("keepdims", 0)),
        node("Mul", ["mean", "nothing"], ["zero"]),
        node("Add", ["sides", "zero"], ["same"]),
        node("Cast", ["same"], ["shape"], integer("to", INT64)),
        node("Reshape", [source, "shape"], ["probabilities"]),
    ]
    return nodes, [tensor("sides", [2], sides), tensor("nothing", [1], [0])]


def of_batch(name, size, batch="batch"):
    return value(name, FLOAT, [batch, size])


def main():
    two, two_weights = linear([(1, 0, 0), (0, 1, 0)])
    four, four_weights = linear([(1, 0, 0), (0, 1, 0), (0, 0, 1), (2, 0, 0)])
    softmax = MEANS + [node("Softmax", ["means"], ["probabilities"], integer("axis", 1))]
    turned = [
        node("Cast", ["image"], ["floats"], integer("to", FLOAT)),
        node("ReduceMean", ["floats"], ["means"], ints("axes", [1, 2]), integer("keepdims", 0)),
        node("Mul", ["means", "share"], ["probabilities"]),
    ]
    alone, alone_sides = reshaped("means", [1, 3])
    six, six_sides = reshaped("doubled", [-1, 6])
    doubled = node("Concat", ["means", "means"], ["doubled"], integer("axis", 1))
    models = {
        "logits": model(two, two_weights, PICTURE, [of_batch("logits", 2)]),
        "four": model(four, four_weights, PICTURE, [of_batch("logits", 4)]),
        "means": model(MEANS, [], PICTURE, [of_batch("means", 3)]),
        "both": model(softmax, [], PICTURE, [of_batch("probabilities", 3), of_batch("means", 3)]),
        # No number where a mean is below 0.
        "roots": model(
            MEANS + [node("Sqrt", ["means"], ["probabilities"])], [], PICTURE, [of_batch("probabilities", 3)]
        ),
        # Says nothing of how many values it gives, and gives six.
        "six": model(MEANS + [doubled] + six, six_sides, PICTURE, [of_batch("probabilities", "some")]),
        # Says that it takes many pictures, and fails with more than one.
        "alone": model(MEANS + alone, alone_sides, PICTURE, [of_batch("probabilities", "some")]),
        "one": model(MEANS, [], value("image", FLOAT, [1, 3, 2, 2]), [of_batch("means", 3, 1)]),
        "bytes": model(
            turned,
            [tensor("share", [1], [1 / 255])],
            value("image", UINT8, ["batch", 2, 2, 3]),
            [of_batch("probabilities", 3)],
        ),
        "opset": model(MEANS, [], PICTURE, [of_batch("means", 3)], opset=99),
        "ir": model(MEANS, [], PICTURE, [of_batch("means", 3)], ir=99),
    }
    folder = Path(sys.argv[1])
    for name, data in models.items():
        (folder / f"{name}.onnx").write_bytes(data)


if __name__ == "__main__":
    main()
