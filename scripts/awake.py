#!/usr/bin/env python3
"""Keeps processors awake while something is measured: `awake.py 0,1 -- stenopool loadtest …`.

A virtual machine's processor that goes to sleep is given to others, and has to be got back when there is work: that takes
milliseconds, is not the same twice, and comes on top of whatever is measured. Here an endless loop of the lowest priority
there is (`SCHED_IDLE`) keeps each processor from sleeping. It gives way at once to everything else. Linux only; elsewhere
nothing is kept awake.
"""
import contextlib
import os
import subprocess
import sys

LOOP = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while os.getppid() == int(sys.argv[2]):
    for _ in range(1_000_000):
        pass
"""


@contextlib.contextmanager
def awake(cores):
    """These processors do not sleep until the end of the block, or of this process."""
    if not hasattr(os, "SCHED_IDLE"):
        yield
        return
    loops = [subprocess.Popen([sys.executable, "-c", LOOP, str(core), str(os.getpid())]) for core in cores]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def main():
    if len(sys.argv) < 4 or sys.argv[2] != "--" or not all(map(str.isdigit, sys.argv[1].split(","))):
        sys.exit(__doc__)
    cores = [int(core) for core in sys.argv[1].split(",")]
    if hasattr(os, "sched_getaffinity") and not os.sched_getaffinity(0).issuperset(cores):
        sys.exit(f"there is no processor {max(cores)} here, or it is not for this process")
    with awake(cores):
        try:
            sys.exit(subprocess.run(sys.argv[3:]).returncode)
        except OSError as error:
            sys.exit(f"{sys.argv[3]}: {error.strerror}")


if __name__ == "__main__":
    main()
