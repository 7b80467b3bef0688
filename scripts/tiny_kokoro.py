#!/usr/bin/env python3
"""Writes tiny ONNX files of Kokoro's signature whose output is a known function of tokens, style and speed.

For N tokens (the two zeros at the ends included) the sound has N + 3 samples, all exact in 32-bit floats:

    tokens[0] / 1024, ..., tokens[N - 1] / 1024, style[0], style[255], speed / 8

So tests see which tokens a network was given, which row of which voice, and which speed. Both sets of names that are in
use are written: `tokens -> audio` of shape [samples], and `input_ids -> waveform` of shape [1, samples].

A third one, `endless.onnx`, gives tokens / 1024 alone and does not come to an end at any speed above 1: it is there to be
stopped.

    scripts/tiny_kokoro.py [FOLDER]        (default: tests/fixtures/kokoro)

Nothing is needed but Python, and the bytes are the same every time.
"""

import sys
from pathlib import Path

from onnx_file import BOOL, FLOAT, INT64, after_graph, before_graph, field, graph, node, tensor, value

OPSET = 13


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
    ]
    if batched:
        constants.append(tensor("first", INT64, [1], [0]))
    output = value(sound, FLOAT, [1, "samples"] if batched else ["samples"])
    return whole(graph("tiny_kokoro", nodes, constants, inputs(tokens), [output]))


def endless() -> bytes:
    body = graph(
        "body",
        [node("Identity", ["go_on"], "still"), node("Add", ["sum", "one"], "more")],
        [],
        [value("n", INT64, []), value("go_on", BOOL, []), value("sum", FLOAT, [1])],
        [value("still", BOOL, []), value("more", FLOAT, [1])],
    )
    nodes = [
        node("Sub", ["speed", "one"], "faster"),
        node("Mul", ["faster", "many"], "rounds"),
        node("Cast", ["rounds"], "counted", to=INT64),
        node("Gather", ["counted", "first"], "trips", axis=0),
        node("Loop", ["trips", "", "zero"], "sum_of_ones", body=body),
        node("Cast", ["tokens"], "numbers", to=FLOAT),
        node("Mul", ["numbers", "token_scale"], "scaled"),
        node("Reshape", ["scaled", "all"], "token_part"),
        node("Add", ["token_part", "sum_of_ones"], "audio"),
    ]
    constants = [
        tensor("one", FLOAT, [1], [1.0]),
        tensor("zero", FLOAT, [1], [0.0]),
        tensor("many", FLOAT, [1], [1e12]),
        tensor("first", INT64, [], [0]),
        tensor("token_scale", FLOAT, [1], [1 / 1024]),
        tensor("all", INT64, [1], [-1]),
    ]
    return whole(graph("endless", nodes, constants, inputs("tokens"), [value("audio", FLOAT, ["samples"])]))


def inputs(tokens: str) -> list[bytes]:
    return [value(tokens, INT64, [1, "tokens"]), value("style", FLOAT, [1, 256]), value("speed", FLOAT, [1])]


def whole(graph: bytes) -> bytes:
    return before_graph("tiny_kokoro.py") + field(7, graph) + after_graph(OPSET)


def main() -> None:
    default = Path(__file__).parent.parent / "tests/fixtures/kokoro"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.onnx").write_bytes(model("tokens", "audio", batched=False))
    (folder / "input_ids.onnx").write_bytes(model("input_ids", "waveform", batched=True))
    (folder / "endless.onnx").write_bytes(endless())


if __name__ == "__main__":
    main()
