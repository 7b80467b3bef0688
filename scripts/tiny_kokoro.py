#!/usr/bin/env python3
"""Writes tiny ONNX files of Kokoro's signature whose output is a known function of tokens, style and speed.

For N tokens (the two zeros at the ends included) the sound has N + 3 samples, all exact in 32-bit floats:

    tokens[0] / 1024, ..., tokens[N - 1] / 1024, style[0], style[255], speed / 8

So tests see which tokens a network was given, which row of which voice, and which speed. Both sets of names that are in
use are written: `tokens -> audio` of shape [samples], and `input_ids -> waveform` of shape [1, samples].

    scripts/tiny_kokoro.py [FOLDER]        (default: tests/fixtures/kokoro)

Nothing is needed but Python: the few messages of ONNX's protobuf that this takes are written by hand, and the bytes are
the same every time.
"""

import struct
import sys
from pathlib import Path

FLOAT, INT64 = 1, 7
INT, INTS = 2, 7
OPSET, IR_VERSION = 13, 8


def varint(number: int) -> bytes:
    out = bytearray()
    number &= (1 << 64) - 1
    while True:
        low, number = number & 0x7F, number >> 7
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def field(number: int, value) -> bytes:
    """A field of a message: an integer, a text, or bytes (a message inside, too)."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name: str, kind: int, dims: list[int], values: list) -> bytes:
    raw = struct.pack(f"<{len(values)}{'f' if kind == FLOAT else 'q'}", *values)
    return b"".join(field(1, dim) for dim in dims) + field(2, kind) + field(8, name) + field(9, raw)


def attribute(name: str, value) -> bytes:
    if isinstance(value, int):
        return field(1, name) + field(3, value) + field(20, INT)
    return field(1, name) + b"".join(field(8, number) for number in value) + field(20, INTS)


def node(kind: str, inputs: list[str], output: str, **attributes) -> bytes:
    names = b"".join(field(1, name) for name in inputs) + field(2, output)
    return names + field(3, output) + field(4, kind) + b"".join(
        field(5, attribute(name, value)) for name, value in attributes.items()
    )


def value(name: str, kind: int, dims: list) -> bytes:
    shape = b"".join(field(1, field(2, dim) if isinstance(dim, str) else field(1, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, shape)))


def model(tokens: str, sound: str, batched: bool) -> bytes:
    flat = "sound" if batched else sound
    nodes = [
        node("Cast", [tokens], "numbers", to=FLOAT),
        node("Mul", ["numbers", "token_scale"], "scaled"),
        node("Reshape", ["scaled", "all"], "token_part"),
        node("Gather", ["style", "ends"], "style_ends", axis=1),
        node("Reshape", ["style_ends", "all"], "style_part"),
        node("Mul", ["speed", "speed_scale"], "speed_part"),
        node("Concat", ["token_part", "style_part", "speed_part"], flat, axis=0),
    ]
    if batched:
        nodes.append(node("Unsqueeze", [flat, "first"], sound))
    constants = [
        tensor("token_scale", FLOAT, [1], [1 / 1024]),
        tensor("speed_scale", FLOAT, [1], [1 / 8]),
        tensor("all", INT64, [1], [-1]),
        tensor("ends", INT64, [2], [0, 255]),
        tensor("first", INT64, [1], [0]),
    ]
    inputs = [value(tokens, INT64, [1, "tokens"]), value("style", FLOAT, [1, 256]), value("speed", FLOAT, [1])]
    output = value(sound, FLOAT, [1, "samples"] if batched else ["samples"])
    graph = b"".join(field(1, one) for one in nodes) + field(2, "tiny_kokoro")
    graph += b"".join(field(5, one) for one in constants)
    graph += b"".join(field(11, one) for one in inputs) + field(12, output)
    return field(1, IR_VERSION) + field(2, "tiny_kokoro.py") + field(7, graph) + field(8, field(2, OPSET))


def main() -> None:
    default = Path(__file__).parent.parent / "tests/fixtures/kokoro"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.onnx").write_bytes(model("tokens", "audio", batched=False))
    (folder / "input_ids.onnx").write_bytes(model("input_ids", "waveform", batched=True))


if __name__ == "__main__":
    main()
