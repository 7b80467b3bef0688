#!/usr/bin/env python3
"""Writes Whisper models of the real shapes, which have learned nothing: small random numbers in whisper.cpp's file format.

They cost the memory and the time of the real ones, for measurements where real weights are not to be had:

    scripts/whisper_shapes.py large-v3-turbo --type q5_0 --out turbo.bin
    scripts/whisper_shapes.py --all FOLDER [--type q5_0]
    scripts/whisper_shapes.py --list

A file has the tensors, the types and to the byte the size of the one that is published under the same name. What differs:

- Nothing that is said matters. Every decode gives the same words, each of them sure (its probability is nearly 1), and goes
  on until a limit ends it: the decoder's own (220 tokens), or the one that it is given. So runs are comparable, and neither
  a repetition nor an improbable text leads to a second try. Asked for the language, a multilingual model says English.
- The vocabulary is made up, behind the 256 single bytes; it is as long as the real one.

How a decode is made to say certain words: the embedding of a position points to the embedding of the word that is said
there (its signs), and what the layers add is small beside it. Everything is computed all the same.

Nothing is needed but Python (3.9 or later, without packages) and a machine that is little-endian.
"""
import argparse
import math
import struct
from collections import namedtuple
from pathlib import Path

from filling import UNITS, Filling, chance, uniform, whole_file

Shape = namedtuple("Shape", "n_vocab n_mels width heads encoder_layers decoder_layers")

ENGLISH, MULTILINGUAL, WITH_CANTONESE = 51_864, 51_865, 51_866
SHAPES = {
    "tiny": Shape(MULTILINGUAL, 80, 384, 6, 4, 4),
    "tiny.en": Shape(ENGLISH, 80, 384, 6, 4, 4),
    "base": Shape(MULTILINGUAL, 80, 512, 8, 6, 6),
    "base.en": Shape(ENGLISH, 80, 512, 8, 6, 6),
    "small": Shape(MULTILINGUAL, 80, 768, 12, 12, 12),
    "small.en": Shape(ENGLISH, 80, 768, 12, 12, 12),
    "medium": Shape(MULTILINGUAL, 80, 1024, 16, 24, 24),
    "medium.en": Shape(ENGLISH, 80, 1024, 16, 24, 24),
    "large-v2": Shape(MULTILINGUAL, 80, 1280, 20, 32, 32),
    "large-v3": Shape(WITH_CANTONESE, 128, 1280, 20, 32, 32),
    "large-v3-turbo": Shape(WITH_CANTONESE, 128, 1280, 20, 32, 4),
}
N_AUDIO_CTX, N_TEXT_CTX = 1500, 448
FFT_BINS = 201

# How sure a word is: its logit, where those of the others lie about 0.
SURE = 27.0
# What all layers together add to a state whose numbers are about 1.
ADDED = 0.5
BIAS = 0.02


# Types of tensors: ggml's number for it, the number for a file of it, and the elements of a unit.

Type = namedtuple("Type", "number file_number elements draw signs")


def half(number):
    return struct.pack("<e", number)


def draw_f16(chance, reach):
    return struct.pack(f"<{UNITS}e", *uniform(chance, reach))


def draw_q8_0(chance, reach):
    # -128 is not in use.
    numbers = chance.randbytes(32 * UNITS).replace(b"\x80", b"\x81")
    return drawn(half(reach / 127), numbers, 32)


def draw_q5_0(chance, reach):
    return drawn(half(reach / 16), chance.randbytes(20 * UNITS), 20)


def draw_q5_1(chance, reach):
    return drawn(half(reach / 15.5) + half(-reach), chance.randbytes(20 * UNITS), 20)


def draw_q4_0(chance, reach):
    return drawn(half(reach / 8), chance.randbytes(16 * UNITS), 16)


def draw_q4_1(chance, reach):
    return drawn(half(reach / 7.5) + half(-reach), chance.randbytes(16 * UNITS), 16)


def drawn(head, numbers, step):
    """Units, each of which begins with its scale (and its least number)."""
    return b"".join(head + numbers[at : at + step] for at in range(0, len(numbers), step))


def nibble_signs(numbers):
    return [byte & 0x08 for byte in numbers] + [byte & 0x80 for byte in numbers]


def bit_signs(high_bits):
    bits = int.from_bytes(high_bits, "little")
    return [bits >> at & 1 for at in range(32)]


# `signs` tells of each number in a unit whether it is above 0.
TYPES = {
    "f16": Type(1, 1, 1, draw_f16, lambda unit: [unit[1] < 0x80]),
    "q8_0": Type(8, 2007, 32, draw_q8_0, lambda unit: [byte < 0x80 for byte in unit[2:]]),
    "q5_0": Type(6, 2008, 32, draw_q5_0, lambda unit: bit_signs(unit[2:6])),
    "q5_1": Type(7, 2009, 32, draw_q5_1, lambda unit: bit_signs(unit[4:8])),
    "q4_0": Type(2, 2002, 32, draw_q4_0, lambda unit: nibble_signs(unit[2:])),
    "q4_1": Type(3, 2003, 32, draw_q4_1, lambda unit: nibble_signs(unit[4:])),
}
BYTES = {"f32": (4, 1), "f16": (2, 1), "q8_0": (34, 32), "q5_0": (22, 32), "q5_1": (24, 32), "q4_0": (18, 32), "q4_1": (20, 32)}
F32 = 0


class Tensor(namedtuple("Tensor", "name dims kind reach")):
    """Dimensions as in ggml, the innermost first. `reach` bounds its random numbers; None: they are no random ones."""

    @property
    def n_elements(self):
        return math.prod(self.dims)

    @property
    def n_bytes(self):
        size, elements = BYTES[self.kind]
        return self.n_elements // elements * size

    def head(self):
        number = F32 if self.kind == "f32" else TYPES[self.kind].number
        name = self.name.encode()
        return struct.pack(f"<3i{len(self.dims)}i", len(self.dims), len(name), number, *self.dims) + name


def tensors(shape, kind):
    """All tensors of a model. As in the published files, only matrices are quantized: convolutions stay in f16, vectors and
    positions in f32."""
    width = shape.width

    def matrix(name, into, out, gain=1.0):
        return Tensor(f"{name}.weight", (into, out), kind, gain * math.sqrt(3 / into))

    def linear(name, into, out, gain=1.0):
        return [matrix(name, into, out, gain), Tensor(f"{name}.bias", (out,), "f32", BIAS)]

    def convolution(name, into):
        reach = math.sqrt(3 / (3 * into))
        return [Tensor(f"{name}.weight", (3, into, width), "f16", reach), Tensor(f"{name}.bias", (1, width), "f32", BIAS)]

    def norm(name):
        return [Tensor(f"{name}.weight", (width,), "f32", None), Tensor(f"{name}.bias", (width,), "f32", BIAS)]

    def attention(name, gain):
        query, value, out = (linear(f"{name}.{part}", width, width, gain if part == "out" else 1.0) for part in ("query", "value", "out"))
        return [*query, matrix(f"{name}.key", width, width), *value, *out, *norm(f"{name}_ln")]

    def layer(name, gain, crosses):
        cross = attention(f"{name}.cross_attn", gain) if crosses else []
        feed = [*linear(f"{name}.mlp.0", width, 4 * width), *linear(f"{name}.mlp.2", 4 * width, width, gain)]
        return [*attention(f"{name}.attn", gain), *cross, *feed, *norm(f"{name}.mlp_ln")]

    def layers(side, n, n_parts):
        gain = ADDED / math.sqrt(n * n_parts)
        return [tensor for at in range(n) for tensor in layer(f"{side}.blocks.{at}", gain, side == "decoder")]

    return [
        # A word's logit is the sum of its row's absolute numbers: on average half their reach.
        Tensor("decoder.token_embedding.weight", (width, shape.n_vocab), kind, SURE / (0.5 * width)),
        Tensor("decoder.positional_embedding", (width, N_TEXT_CTX), "f32", None),
        *layers("decoder", shape.decoder_layers, 3),
        *norm("decoder.ln"),
        Tensor("encoder.positional_embedding", (width, N_AUDIO_CTX), "f32", 1.0),
        *convolution("encoder.conv1", shape.n_mels),
        *convolution("encoder.conv2", width),
        *layers("encoder", shape.encoder_layers, 2),
        *norm("encoder.ln_post"),
    ]


# The words of a model.

# In the published files, all words together have so many bytes.
LETTERS = ("bcdfghjklmnprstvwz", "aeiou")
WORDS = {False: (50_256, 320_831), True: (50_257, 307_057)}


def one_of(chance, things):
    return things[int(chance.random() * len(things))]


def vocabulary(multilingual):
    """Single bytes in GPT-2's order, which has the space at 220, then words that do not exist, each of them once."""
    n_words, n_bytes = WORDS[multilingual]
    bytes_first = [*range(33, 127), *range(161, 173), *range(174, 256)]
    words = [bytes([byte]) for byte in [*bytes_first, *sorted(set(range(256)) - set(bytes_first))]]
    # The last one of the multilingual vocabulary is empty.
    last = [b""] if multilingual else []
    n_made_up = n_words - len(words) - len(last)
    shortest, n_longer = divmod(n_bytes - len(words), n_made_up)
    draw, known = chance("words"), set()
    while len(known) < n_made_up:
        length = shortest + (len(known) < n_longer)
        word = " " + "".join(one_of(draw, LETTERS[at % 2]) for at in range(length - 1))
        if word not in known:
            known.add(word)
            words.append(word.encode())
    return words + last


def said(shape):
    """The token that is said at each position of the text."""
    n_words, _ = WORDS[is_multilingual(shape)]
    draw = chance("said")
    tokens = [256 + int(draw.random() * (n_words - 257)) for _ in range(N_TEXT_CTX)]
    if is_multilingual(shape):
        # Where the language is asked for. The end of the text is token 50257, its start the next one, English the next.
        tokens[0] = 50_259
    return tokens


def is_multilingual(shape):
    return shape.n_vocab != ENGLISH


# Files.


def mel_filters(n_mels):
    """The triangles of Slaney's mel scale for 16 kHz, each of the same area, as Whisper has them: linear below 1 kHz."""

    def hertz(mel):
        return 200 / 3 * mel if mel < 15 else 1000 * math.exp(math.log(6.4) / 27 * (mel - 15))

    top = 15 + math.log(8) / (math.log(6.4) / 27)
    edges = [hertz(top * at / (n_mels + 1)) for at in range(n_mels + 2)]
    for low, middle, high in zip(edges, edges[1:], edges[2:]):
        for bin_hertz in range(0, 40 * FFT_BINS, 40):
            rise, fall = (bin_hertz - low) / (middle - low), (high - bin_hertz) / (high - middle)
            yield max(0.0, min(rise, fall)) * 2 / (high - low)


def header(shape, kind):
    """All that comes before the tensors."""
    numbers = [shape.n_vocab, N_AUDIO_CTX, shape.width, shape.heads, shape.encoder_layers]
    numbers += [N_TEXT_CTX, shape.width, shape.heads, shape.decoder_layers, shape.n_mels, TYPES[kind].file_number]
    words = vocabulary(is_multilingual(shape))
    return b"".join(
        [
            struct.pack("<12i", 0x67676D6C, *numbers),
            struct.pack("<2i", shape.n_mels, FFT_BINS),
            struct.pack(f"<{shape.n_mels * FFT_BINS}f", *mel_filters(shape.n_mels)),
            struct.pack("<i", len(words)),
            *(struct.pack("<i", len(word)) + word for word in words),
        ]
    )


class Drawer:
    """Random numbers for tensors: a filling for each type and reach."""

    def __init__(self):
        self.fillings = {}

    def filling(self, tensor):
        key = (tensor.kind, tensor.reach)
        if key not in self.fillings:
            draw = chance(*key)
            is_f32 = tensor.kind == "f32"
            block = struct.pack(f"<{UNITS}f", *uniform(draw, tensor.reach)) if is_f32 else TYPES[tensor.kind].draw(draw, tensor.reach)
            self.fillings[key] = Filling(block)
        return self.fillings[key]

    def numbers(self, tensor):
        """The bytes of a tensor, in pieces."""
        _, elements = BYTES[tensor.kind]
        return self.filling(tensor).take(tensor.n_elements // elements)


def positions(shape, embedding, filling):
    """For each position of the text the signs of what is said there, as numbers."""
    kind = TYPES[embedding.kind]
    per_row = shape.width // kind.elements
    for token in said(shape):
        row = filling.units(token * per_row, per_row)
        units = (row[at : at + filling.unit] for at in range(0, len(row), filling.unit))
        signs = [1.0 if is_above else -1.0 for unit in units for is_above in kind.signs(unit)]
        yield struct.pack(f"<{shape.width}f", *signs)


def pieces(shape, kind):
    """A whole file, in pieces."""
    yield header(shape, kind)
    drawer = Drawer()
    embedding, *others = tensors(shape, kind)
    yield embedding.head()
    yield from drawer.numbers(embedding)
    for tensor in others:
        yield tensor.head()
        if tensor.name == "decoder.positional_embedding":
            yield from positions(shape, embedding, drawer.filling(embedding))
        elif tensor.reach is None:
            yield struct.pack("<f", 1.0) * tensor.n_elements
        else:
            yield from drawer.numbers(tensor)


def n_bytes(shape, kind):
    """How long a file is."""
    n_words, in_words = WORDS[is_multilingual(shape)]
    before = 4 * (12 + 2 + shape.n_mels * FFT_BINS + 1 + n_words) + in_words
    return before + sum(len(tensor.head()) + tensor.n_bytes for tensor in tensors(shape, kind))


def file_name(name, kind):
    """As the published files are called."""
    return f"ggml-{name}.bin" if kind == "f16" else f"ggml-{name}-{kind}.bin"


def write(name, kind, path):
    shape = SHAPES[name]
    with whole_file(path, n_bytes(shape, kind)) as sink:
        for piece in pieces(shape, kind):
            sink.write(piece)
    print(path)


def show_sizes():
    print("shape\t" + "\t".join(TYPES) + "\t(bytes)")
    for name, shape in SHAPES.items():
        print("\t".join([name, *(str(n_bytes(shape, kind)) for kind in TYPES)]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("shape", nargs="?", choices=SHAPES, help="which model")
    what.add_argument("--all", metavar="FOLDER", type=Path, help="write all of them there, under the names of the published files")
    what.add_argument("--list", action="store_true", help="print how many bytes each of them takes")
    parser.add_argument("--type", choices=TYPES, default="f16", help="of matrices [default: f16]")
    parser.add_argument("--out", metavar="FILE", type=Path, help="where to [default: ./ggml-SHAPE[-TYPE].bin]")
    given = parser.parse_args()
    if given.out and not given.shape:
        parser.error("--out goes with one shape")
    if given.list:
        show_sizes()
    elif given.all:
        for name in SHAPES:
            write(name, given.type, given.all / file_name(name, given.type))
    else:
        write(given.shape, given.type, given.out or Path(file_name(given.shape, given.type)))


if __name__ == "__main__":
    main()
