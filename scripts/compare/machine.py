"""What this machine is, for the head of a table and the name of a file."""
import os
import platform
import re
import subprocess
from pathlib import Path


def facts(server_core, load_core):
    return {"cpu": processor(), "cores": os.cpu_count(), "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "system": f"Linux {platform.release()}", "python": platform.python_version(), "server_core": server_core, "load_core": load_core}


def processor():
    names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return names[0] if names else os.uname().machine


def slug():
    """The machine's name in the names of files."""
    return f"{re.sub(r'[^a-z0-9]+', '-', processor().lower()).strip('-')}-{os.cpu_count()}-cores"


def version(binary):
    """The version and the commit, as in 0.1.0 (commit 0123456789)."""
    words = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
    return words.partition("\n")[0].strip().removeprefix("stenopool ").replace(", features none", "")
