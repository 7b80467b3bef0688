#!/usr/bin/env python3
"""Writes a network of Kokoro-82M's architecture and size that has learned nothing: small random numbers in an ONNX file.

It costs the memory and the time of the real one, for measurements where real weights are not to be had:

    scripts/full_kokoro.py model.onnx
    stenopool speak --tts kokoro --kokoro-model model.onnx --voices-dir FOLDER -o noise.wav "Good morning."

`input_ids` (int64 [1, N]), `style` (f32 [1, 256]) and `speed` (f32 [1]) become `waveform` (f32 [1, samples], 24 kHz), which
is a noise with a hum. All parts are there with the real numbers of channels: ALBERT of twelve shared layers, text encoder,
predictor of durations, pitch and energy, decoder, and the generator with its sine source and inverse Fourier transform.

Where it differs from the graph that one exports from the real weights:

- Durations do not depend on the text. Each token takes 2.9 frames of 25 ms divided by the speed, rounded: three at speed 1,
  about as many as speech takes. So as many tokens are always as much sound.
- Frames are matched to tokens by comparing them with the sums of durations, where exports scatter ones into a matrix.
- Harmonics begin without a random phase, and the mask for padding is left out, as one text is never padded.
- Convolutions have one weight, as in exports; the file of PyTorch keeps norm and direction apart.
- ALBERT's pooling layer, which Kokoro does not use, is left out; its 0.6 M parameters count in the real one's 82 M.

Nothing is needed but Python (3.9 or later, without packages).
"""
import argparse
import math
import struct
from collections import namedtuple
from pathlib import Path

from filling import UNITS, Filling, chance, uniform, whole_file
from onnx_file import FLOAT, INT64, after_graph, announced, before_graph, field, node, tensor, tensor_head, value

OPSET = 17
GRAPH, INITIALIZER, RAW = 7, 5, 9

N_SYMBOLS, MOST_TOKENS = 178, 512
HIDDEN, STYLE = 512, 128
BERT_EMBEDDING, BERT_WIDTH, BERT_INNER, BERT_HEADS, BERT_LAYERS = 128, 768, 2048, 12, 12
DURATIONS, FRAMES_PER_TOKEN = 50, 2.9
PREDICTOR_LAYERS, ENCODER_LAYERS, ENCODER_KERNEL = 3, 3, 5
RATE, PITCH, HARMONICS = 24_000, 180.0, 9
UPSAMPLED = ((10, 20), (6, 12))
N_FFT, HOP = 20, 5
BINS = N_FFT // 2 + 1
# Samples for each step of the pitch: there are two steps in a frame.
SAMPLES_PER_STEP = 300
INITIAL_CHANNELS = 512
KERNELS, DILATIONS = (3, 7, 11), (1, 3, 5)

# `reach` bounds random numbers; None: all of them are ones.
Weight = namedtuple("Weight", "name dims reach")


class Net:
    """Nodes and weights of a graph, in the order of their making. Tensors are known by their names."""

    def __init__(self):
        self.nodes, self.weights, self.constants = [], [], {}
        self.n_names = 0

    def fresh(self, kind):
        self.n_names += 1
        return f"{kind.lower()}_{self.n_names}"

    def __call__(self, kind, *inputs, **attributes):
        """A node with one output; its name."""
        return self.several(1, kind, *inputs, **attributes)[0]

    def several(self, n_outputs, kind, *inputs, **attributes):
        outputs = [self.fresh(kind) for _ in range(n_outputs)]
        self.nodes.append(node(kind, list(inputs), *outputs, **attributes))
        return outputs

    def weight(self, *dims, reach):
        self.weights.append(Weight(self.fresh("weight"), dims, reach))
        return self.weights[-1].name

    def matrix(self, *dims, into, gain=1.0):
        """Weights that keep the size of what they are given, times `gain`: sums of `into` products."""
        return self.weight(*dims, reach=gain * math.sqrt(3 / into))

    def bias(self, n):
        return self.weight(n, reach=0.02)

    def numbers(self, *values, dims=None):
        return self.constant(FLOAT, dims, values)

    def integers(self, *values, dims=None):
        return self.constant(INT64, dims, values)

    def constant(self, kind, dims, values):
        """The name of a constant; a vector, if nothing else is said."""
        key = (kind, tuple([len(values)] if dims is None else dims), values)
        if key not in self.constants:
            self.constants[key] = self.fresh("constant")
        return self.constants[key]

    def number(self, value):
        return self.numbers(float(value), dims=[])


# Parts that stand in many places. Sequences are [1, steps, channels], sounds [1, channels, steps].


def linear(net, x, into, out):
    return net("Add", net("MatMul", x, net.matrix(into, out, into=into)), net.bias(out))


def normed(net, x, channels, epsilon=1e-5):
    scale, bias = net.weight(channels, reach=None), net.bias(channels)
    return net("LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)


def swapped(net, x):
    """Sequences as sounds, and the other way round."""
    return net("Transpose", x, perm=[0, 2, 1])


def lstm(net, x, into):
    """Both ways, each with half of the hidden numbers."""
    half = HIDDEN // 2
    weights = net.matrix(2, 4 * half, into, into=into), net.matrix(2, 4 * half, half, into=half)
    bias = net.weight(2, 8 * half, reach=0.02)
    steps = net("Transpose", x, perm=[1, 0, 2])
    y = net("LSTM", steps, *weights, bias, direction="bidirectional", hidden_size=half)
    return net("Reshape", net("Transpose", y, perm=[2, 0, 1, 3]), net.integers(1, -1, HIDDEN))


def convolution(net, x, into, out, kernel, stride=1, dilation=1, padding=None, gain=1.0, with_bias=True):
    padding = (kernel - 1) * dilation // 2 if padding is None else padding
    parts = [x, net.matrix(out, into, kernel, into=into * kernel, gain=gain)] + ([net.bias(out)] if with_bias else [])
    return net("Conv", *parts, kernel_shape=[kernel], strides=[stride], dilations=[dilation], pads=[padding, padding])


def leaky(net, x, slope):
    return net("LeakyRelu", x, alpha=slope)


def scale_and_shift(net, style, channels, dims):
    """What a style makes of so many channels: a factor about 1, and a shift."""
    weight, bias = net.weight(2 * channels, STYLE, reach=0.05), net.bias(2 * channels)
    both = net("Reshape", net("Gemm", style, weight, bias, transB=1), net.integers(*dims))
    gamma, beta = net.several(2, "Split", both, axis=dims.index(2 * channels))
    return net("Add", gamma, net.number(1)), beta


def styled(net, x, style, channels):
    """AdaIN: every channel has the mean and the variance that the style gives it."""
    scale, shift = scale_and_shift(net, style, channels, [1, 2 * channels, 1])
    plain = net("InstanceNormalization", x, net.weight(channels, reach=None), net.bias(channels), epsilon=1e-5)
    return net("Add", net("Mul", scale, plain), shift)


def styled_sequence(net, x, style, channels):
    """AdaLayerNorm."""
    scale, shift = scale_and_shift(net, style, channels, [1, 1, 2 * channels])
    # An export knows no norm without weights either: ones and zeros.
    ones, zeros = net.numbers(*[1.0] * channels), net.numbers(*[0.0] * channels)
    plain = net("LayerNormalization", x, ones, zeros, axis=-1, epsilon=1e-5)
    return net("Add", net("Mul", scale, plain), shift)


def doubled(net, x):
    return net("Resize", x, "", net.numbers(1.0, 1.0, 2.0), **NEAREST)


NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def residual(net, x, style, into, out, doubles=False):
    """A block of the predictor and of the decoder, which may double the steps."""
    y = leaky(net, styled(net, x, style, into), 0.2)
    short = x
    if doubles:
        weight = net.matrix(into, 1, 3, into=3)
        shape = {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "output_padding": [1], "group": into}
        y = net("ConvTranspose", y, weight, net.bias(into), **shape)
        short = doubled(net, x)
    y = convolution(net, y, into, out, 3)
    y = convolution(net, leaky(net, styled(net, y, style, out), 0.2), out, out, 3)
    if into != out:
        short = convolution(net, short, into, out, 1, with_bias=False)
    return net("Mul", net("Add", y, short), net.number(math.sqrt(0.5)))


def snake(net, x, channels):
    alpha = net.weight(1, channels, 1, reach=None)
    wave = net("Pow", net("Sin", net("Mul", alpha, x)), net.number(2))
    return net("Add", x, net("Mul", net("Reciprocal", alpha), wave))


def wave_block(net, x, style, channels, kernel):
    """A block of the generator."""
    for dilation in DILATIONS:
        y = snake(net, styled(net, x, style, channels), channels)
        y = convolution(net, y, channels, channels, kernel, dilation=dilation)
        y = snake(net, styled(net, y, style, channels), channels)
        x = net("Add", convolution(net, y, channels, channels, kernel), x)
    return x


# The network, from its inputs to its output.


def bert(net, tokens, n_tokens):
    """ALBERT: one layer, twelve times over."""
    places = net("Range", net.integers(0, dims=[]), n_tokens, net.integers(1, dims=[]))
    words = net("Gather", net.weight(N_SYMBOLS, BERT_EMBEDDING, reach=1.0), tokens)
    order = net("Gather", net.weight(MOST_TOKENS, BERT_EMBEDDING, reach=0.3), places)
    kinds = net("Gather", net.weight(2, BERT_EMBEDDING, reach=0.3), net.integers(0))
    x = normed(net, net("Add", net("Add", words, kinds), order), BERT_EMBEDDING, 1e-12)
    x = linear(net, x, BERT_EMBEDDING, BERT_WIDTH)
    layer = shared_layer(net)
    for _ in range(BERT_LAYERS):
        x = layer(x)
    return linear(net, x, BERT_WIDTH, HIDDEN)


def shared_layer(net):
    def weights(into, out):
        return net.matrix(into, out, into=into), net.bias(out)

    query, key, attended, dense = (weights(BERT_WIDTH, BERT_WIDTH) for _ in range(4))
    first, second = weights(BERT_WIDTH, BERT_INNER), weights(BERT_INNER, BERT_WIDTH)
    norms = [(net.weight(BERT_WIDTH, reach=None), net.bias(BERT_WIDTH)) for _ in range(2)]
    heads, head = net.integers(1, -1, BERT_HEADS, BERT_WIDTH // BERT_HEADS), BERT_WIDTH // BERT_HEADS

    def apply(x, weights):
        return net("Add", net("MatMul", x, weights[0]), weights[1])

    def by_head(x, perm):
        return net("Transpose", net("Reshape", x, heads), perm=perm)

    def joined(x, y, norm):
        return net("LayerNormalization", net("Add", x, y), *norm, axis=-1, epsilon=1e-12)

    def layer(x):
        q, k = by_head(apply(x, query), [0, 2, 1, 3]), by_head(apply(x, key), [0, 2, 3, 1])
        v = by_head(apply(x, attended), [0, 2, 1, 3])
        likeness = net("Div", net("MatMul", q, k), net.number(math.sqrt(head)))
        seen = net("MatMul", net("Softmax", likeness, axis=-1), v)
        seen = net("Reshape", net("Transpose", seen, perm=[0, 2, 1, 3]), net.integers(1, -1, BERT_WIDTH))
        x = joined(apply(seen, dense), x, norms[0])
        return joined(apply(gelu(net, apply(x, first)), second), x, norms[1])

    return layer


def gelu(net, x):
    """By the hyperbolic tangent, as ALBERT has it."""
    cubed = net("Mul", net("Pow", x, net.number(3)), net.number(0.044715))
    inner = net("Mul", net("Add", x, cubed), net.number(math.sqrt(2 / math.pi)))
    return net("Mul", net("Mul", x, net.number(0.5)), net("Add", net("Tanh", inner), net.number(1)))


def with_style(net, x, style, n_tokens):
    """Every step of a sequence with the style behind it."""
    shape = net("Concat", net.integers(1), net("Unsqueeze", n_tokens, net.integers(0)), net.integers(STYLE), axis=0)
    steps = net("Expand", net("Unsqueeze", style, net.integers(1)), shape)
    return net("Concat", x, steps, axis=2)


def predictor_text(net, x, style, n_tokens):
    x = with_style(net, x, style, n_tokens)
    for _ in range(PREDICTOR_LAYERS):
        x = styled_sequence(net, lstm(net, x, HIDDEN + STYLE), style, HIDDEN)
        x = with_style(net, x, style, n_tokens)
    return x


def durations(net, x, speed):
    """Frames of each token: [1, N]."""
    x = lstm(net, x, HIDDEN + STYLE)
    # Two are surely on and one is on at 0.9. What the text adds is far too little to matter where durations are rounded.
    sure = 30.0
    likely = math.log(0.9 / 0.1)
    bias = net.numbers(sure, sure, likely, *[-sure] * (DURATIONS - 3))
    logits = net("Add", net("MatMul", x, net.weight(HIDDEN, DURATIONS, reach=1e-5)), bias)
    frames = net("ReduceSum", net("Sigmoid", logits), net.integers(-1), keepdims=0)
    return net("Clip", net("Round", net("Div", frames, speed)), net.number(1), "")


def alignment(net, frames_of_tokens):
    """Which frame belongs to which token: ones and zeros, [1, N, frames]."""
    ends = net("CumSum", frames_of_tokens, net.integers(1, dims=[]))
    total = net("ReduceMax", ends, keepdims=0)
    frames = net("Range", net.number(0), total, net.number(1))
    ends, begins = (net("Unsqueeze", one, net.integers(2)) for one in (ends, net("Sub", ends, frames_of_tokens)))
    inside = net("And", net("Less", frames, ends), net("GreaterOrEqual", frames, begins))
    return net("Cast", inside, to=FLOAT)


def curve(net, x, style, level):
    """Pitch or energy: a number for each half frame, [1, 1, 2 * frames]."""
    x = residual(net, x, style, HIDDEN, HIDDEN)
    x = residual(net, x, style, HIDDEN, HIDDEN // 2, doubles=True)
    x = residual(net, x, style, HIDDEN // 2, HIDDEN // 2)
    x = net("Conv", x, net.weight(1, HIDDEN // 2, 1, reach=0.05), net.numbers(level), kernel_shape=[1])
    return x


def text_encoder(net, tokens):
    x = swapped(net, net("Gather", net.weight(N_SYMBOLS, HIDDEN, reach=1.0), tokens))
    for _ in range(ENCODER_LAYERS):
        x = convolution(net, x, HIDDEN, HIDDEN, ENCODER_KERNEL)
        x = leaky(net, swapped(net, normed(net, swapped(net, x), HIDDEN)), 0.2)
    return swapped(net, lstm(net, swapped(net, x), HIDDEN))


def decoder(net, text, pitch, energy, style):
    slow = [convolution(net, one, 1, 1, 3, stride=2) for one in (pitch, energy)]
    x = residual(net, net("Concat", text, *slow, axis=1), style, HIDDEN + 2, 1024)
    again = convolution(net, text, HIDDEN, 64, 1)
    for out, doubles in ((1024, False), (1024, False), (1024, False), (HIDDEN, True)):
        x = residual(net, net("Concat", x, again, *slow, axis=1), style, 1024 + 64 + 2, out, doubles)
    return x


def sines(net, pitch):
    """A hum of that pitch with its harmonics: [1, 1, samples]."""
    fast = net("Resize", pitch, "", net.numbers(1.0, 1.0, float(SAMPLES_PER_STEP)), **NEAREST)
    harmonics = net.numbers(*map(float, range(1, HARMONICS + 1)), dims=[1, HARMONICS, 1])
    turns = net("Div", net("Mul", fast, harmonics), net.number(RATE))
    turns = net("Sub", turns, net("Floor", turns))
    linearly = {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}
    sizes = [net("Concat", net.integers(1, HARMONICS), steps_of(net, x), axis=0) for x in (pitch, fast)]
    slow = net("Resize", turns, "", "", sizes[0], **linearly)
    phase = net("Mul", net("CumSum", slow, net.integers(2, dims=[])), net.number(2 * math.pi * SAMPLES_PER_STEP))
    waves = net("Mul", net("Sin", net("Resize", phase, "", "", sizes[1], **linearly)), net.number(0.1))
    voiced = net("Cast", net("Greater", fast, net.number(10)), to=FLOAT)
    unvoiced = net("Mul", net("Sub", net.number(1), voiced), net.number(0.1 / 3))
    loud = net("Add", net("Mul", voiced, net.number(0.003)), unvoiced)
    hiss = net("Mul", loud, net("RandomNormalLike", waves, seed=7.0))
    waves = swapped(net, net("Add", net("Mul", waves, voiced), hiss))
    return swapped(net, net("Tanh", linear(net, waves, HARMONICS, 1)))


def steps_of(net, x):
    return net("Gather", net("Shape", x), net.integers(2), axis=0)


def hann(at):
    return 0.5 - 0.5 * math.cos(2 * math.pi * at / N_FFT)


def fourier(net, function, scale=1.0):
    """Windowed waves of each frequency."""
    angle = 2 * math.pi / N_FFT
    waves = [scale * hann(at) * function(angle * bin * at) for bin in range(BINS) for at in range(N_FFT)]
    return net.numbers(*waves, dims=[BINS, 1, N_FFT])


def spectrum(net, sound):
    """Magnitudes and phases: [1, 2 * bins, samples / hop + 1]."""
    around = net.integers(0, 0, N_FFT // 2, 0, 0, N_FFT // 2)
    padded = net("Pad", sound, around, mode="edge")
    shape = {"kernel_shape": [N_FFT], "strides": [HOP]}
    real = net("Conv", padded, fourier(net, math.cos), **shape)
    imaginary = net("Conv", padded, fourier(net, lambda angle: -math.sin(angle)), **shape)
    squares = net("Add", net("Mul", real, real), net("Mul", imaginary, imaginary))
    magnitude = net("Sqrt", net("Add", squares, net.number(1e-14)))
    return net("Concat", magnitude, angle_of(net, imaginary, real), axis=1)


def angle_of(net, y, x):
    """The arc tangent in all four quadrants."""
    zero, half = net.number(0), net.number(math.pi)
    # It must not divide zero by zero.
    near = net("Atan", net("Div", y, net("Add", x, net.number(1e-20))))
    turn = net("Where", net("Less", y, zero), net("Neg", half), half)
    return net("Add", near, net("Where", net("Less", x, zero), turn, zero))


def sound(net, x):
    """The inverse of a spectrum, whose logarithmic magnitudes and sines of phases are given."""
    magnitude, phase = net.several(2, "Split", x, axis=1)
    magnitude = net("Exp", magnitude)
    phase = net("Sin", phase)
    shape = {"kernel_shape": [N_FFT], "strides": [HOP]}
    parts = [
        net("ConvTranspose", net("Mul", magnitude, net(kind, phase)), fourier(net, function, 1 / N_FFT), **shape)
        for kind, function in (("Cos", math.cos), ("Sin", math.sin))
    ]
    middle = net.integers(N_FFT // 2), net.integers(-N_FFT // 2), net.integers(2)
    return net("Slice", net("Sub", *parts), *middle)


def generator(net, x, pitch, style):
    source = spectrum(net, sines(net, pitch))
    channels = INITIAL_CHANNELS
    for at, (rate, kernel) in enumerate(UPSAMPLED):
        is_last = at == len(UPSAMPLED) - 1
        x = leaky(net, x, 0.1)
        weight = net.matrix(channels, channels // 2, kernel, into=channels * kernel // rate)
        padding = (kernel - rate) // 2
        shape = {"kernel_shape": [kernel], "strides": [rate], "pads": [padding, padding]}
        x = net("ConvTranspose", x, weight, net.bias(channels // 2), **shape)
        channels //= 2
        if is_last:
            hum = convolution(net, source, 2 * BINS, channels, 1)
            x = net("Pad", x, net.integers(0, 0, 1, 0, 0, 0), mode="reflect")
        else:
            stride = math.prod(rate for rate, _ in UPSAMPLED[at + 1 :])
            hum = convolution(net, source, 2 * BINS, channels, 2 * stride, stride=stride, padding=(stride + 1) // 2)
        x = net("Add", x, wave_block(net, hum, style, channels, 11 if is_last else 7))
        blocks = [wave_block(net, x, style, channels, kernel) for kernel in KERNELS]
        x = net("Div", net("Sum", *blocks), net.number(len(KERNELS)))
    # A small gain, as the exponential function comes next.
    x = convolution(net, leaky(net, x, 0.01), channels, 2 * BINS, 7, gain=0.1)
    return sound(net, x)


def kokoro():
    """The whole network."""
    net = Net()
    n_tokens = net("Squeeze", net("Gather", net("Shape", "input_ids"), net.integers(1)))
    of_sound, of_speech = net.several(2, "Split", "style", axis=1)
    text = predictor_text(net, bert(net, "input_ids", n_tokens), of_speech, n_tokens)
    aligned = alignment(net, durations(net, text, "speed"))
    spoken = net("MatMul", swapped(net, text), aligned)
    shared = swapped(net, lstm(net, swapped(net, spoken), HIDDEN + STYLE))
    pitch, energy = curve(net, shared, of_speech, PITCH), curve(net, shared, of_speech, 0.0)
    letters = net("MatMul", text_encoder(net, "input_ids"), aligned)
    wave = generator(net, decoder(net, letters, pitch, energy, of_sound), pitch, of_sound)
    net.nodes.append(node("Squeeze", [wave, net.integers(1)], "waveform"))
    return net


# The file.


def weight_head(weight):
    """What stands before a weight's numbers, of which there are so many bytes."""
    n = 4 * math.prod(weight.dims)
    inside = tensor_head(weight.name, FLOAT, weight.dims) + announced(RAW, n)
    return announced(INITIALIZER, len(inside) + n) + inside, n


def graph_parts(net):
    """The graph around its weights: bytes before, and behind."""
    given = [value("input_ids", INT64, [1, "tokens"]), value("style", FLOAT, [1, 2 * STYLE]), value("speed", FLOAT, [1])]
    made = value("waveform", FLOAT, [1, "samples"])
    constants = [tensor(name, kind, dims, values) for (kind, dims, values), name in net.constants.items()]
    before = b"".join([field(1, one) for one in net.nodes] + [field(2, "full_kokoro")] + [field(INITIALIZER, one) for one in constants])
    return before, b"".join([field(11, one) for one in given] + [field(12, made)])


def pieces(net):
    """The whole file."""
    before, behind = graph_parts(net)
    heads = [weight_head(weight) for weight in net.weights]
    size = len(before) + sum(len(head) + n for head, n in heads) + len(behind)
    yield before_graph("full_kokoro.py") + announced(GRAPH, size) + before
    fillings = {}
    for weight, (head, n) in zip(net.weights, heads):
        yield head
        yield from numbers(weight, fillings)
    yield behind + after_graph(OPSET)


def numbers(weight, fillings):
    n = math.prod(weight.dims)
    if weight.reach is None:
        return [struct.pack("<f", 1.0) * n]
    if weight.reach not in fillings:
        block = uniform(chance("kokoro", weight.reach), weight.reach)
        fillings[weight.reach] = Filling(struct.pack(f"<{UNITS}f", *block))
    return fillings[weight.reach].take(n)


def n_bytes(net):
    before, behind = graph_parts(net)
    size = len(before) + sum(len(head) + n for head, n in map(weight_head, net.weights)) + len(behind)
    return len(before_graph("full_kokoro.py") + announced(GRAPH, size)) + size + len(after_graph(OPSET))


def write(path):
    net = kokoro()
    with whole_file(path, n_bytes(net)) as sink:
        for piece in pieces(net):
            sink.write(piece)
    n_parameters = sum(math.prod(weight.dims) for weight in net.weights)
    print(f"{path}: {n_parameters / 1e6:.2f} M parameters")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, help="where to, as in model.onnx")
    write(parser.parse_args().path)


if __name__ == "__main__":
    main()
