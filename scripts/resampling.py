"""From the rate of our recordings to the rate that OpenAI's Realtime API speaks."""
import array
import math

TAPS = 32


def at_24_khz(pcm):
    """PCM16 at 16 kHz as PCM16 at 24 kHz: a windowed sinc of 32 taps, three samples for every two."""
    samples = array.array("h", pcm)
    padded = [0] * TAPS + list(samples) + [0] * TAPS
    resampled = array.array("h")
    for n in range(len(samples) * 3 // 2):
        place, phase = divmod(2 * n, 3)
        window = padded[place + TAPS // 2 + 1 : place + TAPS // 2 + 1 + TAPS]
        value = sum(sample * weight for sample, weight in zip(window, KERNELS[phase]))
        resampled.append(max(-32_768, min(32_767, round(value))))
    return resampled.tobytes()


def kernel(phase):
    """Weights of the 32 samples around a place that lies `phase` thirds after the sixteenth of them."""

    def weight(tap):
        x = tap - (TAPS // 2 - 1) - phase / 3
        sinc = 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)
        return sinc * math.cos(math.pi * x / (TAPS + 2)) ** 2

    return [weight(tap) for tap in range(TAPS)]


KERNELS = [kernel(phase) for phase in range(3)]
