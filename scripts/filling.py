"""Weights that mean nothing: small random numbers, the same every time, as fast as a disk takes them.

What is written by hand here costs memory and time like the real thing, and is there where the real thing is not to be had.
"""
import contextlib
import os
import random
import shutil
import sys
import time
from pathlib import Path

# A block of so many units is drawn once and repeated. The number is prime, so that the rows of a matrix differ.
UNITS = 65_537
MIB = 1 << 20
# What takes longer says how far it is, and again after each second.
PATIENCE_SECONDS = 2.0
# Bytes that are written at a time.
STRIDE = MIB


def chance(*seed):
    """Random numbers of their own for each seed. The same on every machine: nothing but `random` and `randbytes` is asked of them."""
    return random.Random(" ".join(map(str, seed)))


def uniform(chance, reach, n=UNITS):
    """Numbers between -reach and reach."""
    return [reach * (2.0 * chance.random() - 1.0) for _ in range(n)]


class Filling:
    """A block of units of some bytes each, repeated for ever. What is taken goes on where it ended the last time."""

    def __init__(self, block):
        assert len(block) % UNITS == 0
        self.unit = len(block) // UNITS
        self.at = 0
        self.period = len(block)
        self.block = block * max(1, -(-STRIDE // len(block)))

    def take(self, n_units):
        """The next units, in pieces."""
        left = n_units * self.unit
        while left:
            piece = self.block[self.at : self.at + min(left, len(self.block) - self.at)]
            self.at = (self.at + len(piece)) % self.period
            left -= len(piece)
            yield piece

    def units(self, first, n):
        """So many units of all that can be taken, from one of them on."""
        start = first % UNITS * self.unit
        return (self.block[: self.period] * 2)[start : start + n * self.unit]


class Sink:
    """Where bytes are written to, which says how far it is when that takes long."""

    def __init__(self, file, name, size):
        self.file, self.name, self.size = file, name, size
        self.n_written = 0
        self.since = time.monotonic()
        self.next_word = self.since + PATIENCE_SECONDS

    def write(self, piece):
        self.file.write(piece)
        self.n_written += len(piece)
        if time.monotonic() >= self.next_word:
            self.next_word = time.monotonic() + 1.0
            share = 100 * self.n_written // self.size
            print(f"{self.name}: {share} % of {self.size / MIB:.0f} MiB", file=sys.stderr, flush=True)


@contextlib.contextmanager
def whole_file(path, size):
    """A sink for exactly `size` bytes. The file stands under its name once they are all there, and not before."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < size:
        sys.exit(
            f"error: {path} takes {size / MIB:.0f} MiB, {free / MIB:.0f} MiB is free in {path.parent.absolute()}\n"
            "hint: free some space, or name another folder"
        )
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            sink = Sink(file, path.name, size)
            yield sink
        assert sink.n_written == size, f"{path}: {sink.n_written} bytes were written, {size} were said"
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
