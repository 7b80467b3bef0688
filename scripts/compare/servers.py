"""Starting a server on a core of its own, knowing when it is ready, what it uses, and that it is gone afterwards."""
import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

PATIENCE_SECONDS = 180
GRACE_SECONDS = 15
TICKS = os.sysconf("SC_CLK_TCK")
# Nothing reaches for a GPU, a hub or a second thread: the server has one core, and its weights are here.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
ALONE = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}


class DidNotStart(Exception):
    """A server that ended, or was not ready in time. Its log is in the folder of logs, under its key."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(rival, place, core, logs):
    """The server, ready for its first client; ended with all its children whatever happens."""
    ports = {"port": free_port(), "rest_port": free_port()}
    log = Path(logs) / f"{rival.key}.log"
    environment = {**os.environ, **ONE_THREAD, **ALONE, "PATH": f"{place.folder / 'bin'}:{os.environ['PATH']}"}
    command = ["taskset", "-c", str(core), *map(str, rival.command(place, ports))]
    with open(log, "ab") as sink:
        sink.write(f"$ {' '.join(command)}\n".encode())
        sink.flush()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env=environment,
                                   cwd=logs, start_new_session=True)
    server = Server(process, rival.url(ports), log)
    try:
        server.wait_until_ready(rival.ready(ports))
        yield server
    finally:
        server.end()


class Server:
    """A started process with all that it started."""

    def __init__(self, process, url, log):
        self.process, self.url, self.log = process, url, log

    def wait_until_ready(self, answers):
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not answers():
            if self.process.poll() is not None:
                raise DidNotStart(f"ended with exit code {self.process.returncode}: {last_words(self.log)}")
            if time.monotonic() > deadline:
                raise DidNotStart(f"not ready after {PATIENCE_SECONDS} s")
            time.sleep(0.2)

    def is_alive(self):
        return self.process.poll() is None

    def usage(self):
        """Seconds of CPU and bytes of memory (RSS) of the process and all its children."""
        seconds = memory = 0
        for pid in family(self.process.pid):
            with contextlib.suppress(OSError):
                seconds += cpu_seconds(pid)
                memory += resident_bytes(pid)
        return seconds, memory

    def end(self):
        """Asks the whole group to end, and ends what has not after a while."""
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, kind)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE_SECONDS)
                break
        # Children that outlived the parent's good end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


def family(pid):
    """The process and its descendants."""
    pids, found = [pid], []
    while pids:
        pid = pids.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                pids += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_bytes(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def answers_http(url):
    """Whether GET says 200."""
    def look():
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False
    return look


def answers_tcp(port):
    """Whether somebody listens. For servers that speak nothing but WebSocket."""
    def look():
        try:
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return True
        except OSError:
            return False
    return look


def last_words(log, length=200):
    lines = [line.strip() for line in Path(log).read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:length] if lines else "it said nothing"
