"""The few messages of ONNX's protobuf that scripts here write by hand, so that nothing is needed but Python."""
import struct

FLOAT, INT64, BOOL = 1, 7, 9
A_FLOAT, AN_INT, A_STRING, A_GRAPH, INTS = 1, 2, 3, 5, 7
VARINT, DELIMITED, FIXED32 = 0, 2, 5


def varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while True:
        low, number = number & 0x7F, number >> 7
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def field(number: int, value) -> bytes:
    """A field of a message: an integer, a number, a text, or bytes (a message inside, too)."""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | FIXED32) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return announced(number, len(data)) + data


def announced(number: int, size: int) -> bytes:
    """What stands before so many bytes of a field."""
    return varint(number << 3 | DELIMITED) + varint(size)


def tensor(name: str, kind: int, dims: list[int], values: list) -> bytes:
    raw = struct.pack(f"<{len(values)}{'f' if kind == FLOAT else 'q'}", *values)
    return tensor_head(name, kind, dims) + field(9, raw)


def tensor_head(name: str, kind: int, dims: list[int]) -> bytes:
    """A tensor without its numbers, which are its field 9."""
    return b"".join(field(1, dim) for dim in dims) + field(2, kind) + field(8, name)


def attribute(name: str, value) -> bytes:
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, AN_INT)
    if isinstance(value, float):
        return field(1, name) + field(2, value) + field(20, A_FLOAT)
    if isinstance(value, str):
        return field(1, name) + field(4, value) + field(20, A_STRING)
    if isinstance(value, bytes):
        return field(1, name) + field(6, value) + field(20, A_GRAPH)
    return field(1, name) + b"".join(field(8, number) for number in value) + field(20, INTS)


def node(kind: str, inputs: list[str], *outputs: str, **attributes) -> bytes:
    names = b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs)
    return names + field(3, outputs[0]) + field(4, kind) + b"".join(
        field(5, attribute(name, value)) for name, value in attributes.items()
    )


def value(name: str, kind: int, dims: list) -> bytes:
    shape = b"".join(field(1, field(2, dim) if isinstance(dim, str) else field(1, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def graph(name: str, nodes: list[bytes], constants: list[bytes], given: list[bytes], made: list[bytes]) -> bytes:
    return b"".join(
        [field(1, one) for one in nodes]
        + [field(2, name)]
        + [field(5, one) for one in constants]
        + [field(11, one) for one in given]
        + [field(12, one) for one in made]
    )


def before_graph(producer: str, ir_version: int = 8) -> bytes:
    """What stands before the graph, the field 7 of a whole file."""
    return field(1, ir_version) + field(2, producer)


def after_graph(opset: int) -> bytes:
    """What stands behind it."""
    return field(8, field(2, opset))
