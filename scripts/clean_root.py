#!/usr/bin/env python3
"""Tries the deployment in fresh Debian roots: what Dockerfile.cuda does, without Docker, and what comes of it.

    clean_root.py clean-root [BINARY]     makes both stages, then runs the server as deploy/compose.yaml has it
    clean_root.py units BINARY            boots the root with systemd, and runs the server as deploy/stenopool.service has it

Each stage's base is stood in for by Debian of the same release out of mmdebstrap, the Rust image with this machine's Rust
besides. Every COPY and RUN of Dockerfile.cuda is then done as it stands there. With BINARY, a program that was built already
(on Debian 12 or older), the steps that compile are left out and it takes the place of what they would build.

Needs root. Everything is under target/clean-root; the base is kept there between runs. Run by scripts/check-deploy.sh.
"""
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

import dockerfile
from dockerfile import ROOT
from running import check
from scoring import words

HERE = ROOT / "target" / "clean-root"
RECORDINGS = ROOT / "tests" / "recordings" / "eval"
SAID = ("seen-voice-000.wav", "Set a timer for fifteen minutes.")
KEY = "open-sesame"
COMPILES = "make build-cuda"
BUILT = "target/cuda/release/stenopool"
# What the machine's own programs need to reach package registries, where that takes something.
PASSED_ON = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"]
CERTIFICATES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")


def say(text):
    print(f"clean-root: {text}", flush=True)


def run(*command, **options):
    return subprocess.run([*map(str, command)], check=True, **options)


# --- The image ----------------------------------------------------------------------------------------------------------------


def base(release):
    """An archive of a fresh Debian, made on the first call."""
    archive = HERE / f"debian-{release}.tar"
    if not archive.exists():
        say(f"making a fresh Debian {release} (some minutes)")
        unfinished = archive.with_suffix(".unfinished.tar")
        run("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", release, unfinished)
        unfinished.rename(archive)
    return archive


def fresh(stage):
    """The stage's own root, as its base image would be, and what is mounted into it while it is built."""
    release = "bookworm"
    assert f"{release}-" in stage.base or f"-{release}" in stage.base, f"no stand-in for {stage.base}"
    root = HERE / (stage.name or "image")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    run("tar", "--extract", "--numeric-owner", "--file", base(release), "--directory", root)
    if not stage.base.startswith("rust:"):
        return root, {}, {}
    # As the Rust image has it: a compiler of C, and Rust.
    env = {"PATH": "/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CARGO_HOME": "/usr/local/cargo"}
    sysroot = run("rustc", "--print", "sysroot", capture_output=True, text=True, cwd=ROOT).stdout.strip()
    (root / "usr/local/rust").mkdir()
    mounts = {sysroot: "/usr/local/rust"}
    inside(root, mounts, env, "/", "apt-get update -qq && apt-get install -qq -y --no-install-recommends gcc libc6-dev >/dev/null && rm -rf /var/lib/apt/lists/*")
    return root, mounts, env


def inside(root, mounts, env, folder, command):
    """Runs a shell command in a root, as root, with the network of this machine."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    box = ["bwrap", "--die-with-parent", "--unshare-pid", "--cap-add", "ALL", "--clearenv", "--bind", root, "/"]
    box += ["--dev", "/dev", "--proc", "/proc", "--tmpfs", "/run", "--ro-bind", "/etc/resolv.conf", "/etc/resolv.conf"]
    if CERTIFICATES.exists():
        box += ["--ro-bind", CERTIFICATES, "/run/certificates.crt"]
        passed |= {name: "/run/certificates.crt" for name in ("PIP_CERT", "SSL_CERT_FILE", "CARGO_HTTP_CAINFO")}
    for source, target in mounts.items():
        box += ["--ro-bind", source, target]
    everything = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"} | passed | env
    for name, value in everything.items():
        box += ["--setenv", name, value]
    with open(HERE / "steps.log", "a") as log:
        run(*box, "--chdir", folder, "/bin/sh", "-c", command, stdout=log, stderr=log)


def copy(source, target):
    """As COPY does: a folder's content into a folder, a file beside others or under a name."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        run("cp", "--recursive", "--no-dereference", "--preserve=mode,timestamps,links", f"{source}/.", target)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        run("cp", "--no-dereference", "--preserve=mode,timestamps,links", source, target)


def replay(stage, roots, binary):
    """Does what a stage says; its root, and what programs in it find in their environment."""
    root, mounts, env = fresh(stage)
    given, folder = {}, "/"
    for each in stage.instructions:
        match each.name:
            case "WORKDIR":
                folder = each.value
                (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "ENV":
                env |= each.pairs()
            case "ARG":
                given |= {name: os.environ.get(name, default) for name, default in each.pairs().items()}
            case "COPY":
                *sources, target = each.words()
                place = root / os.path.join(folder, target).lstrip("/")
                origin = roots[each.flags["from"]] if "from" in each.flags else ROOT
                for source in sources:
                    found = origin / source.lstrip("/")
                    many = target.endswith("/") or len(sources) > 1
                    copy(found, place / found.name if many and not found.is_dir() else place)
            case "RUN":
                started = time.monotonic()
                if binary and COMPILES in each.value:
                    copy(binary, root / folder.lstrip("/") / BUILT)
                    say(f"line {each.line}: left out, {binary} stands in for what it builds")
                else:
                    try:
                        inside(root, mounts, given | env, folder, each.value)
                    except subprocess.CalledProcessError as error:
                        tail = (HERE / "steps.log").read_text()[-2000:]
                        sys.exit(f"{tail}\nclean-root: error: line {each.line} of Dockerfile.cuda exits {error.returncode}: {each.value}")
                    say(f"line {each.line}: RUN {each.value[:60]}… ({time.monotonic() - started:.0f} s)")
    return root, env


def image(binary):
    """Makes all stages; the root of the last one and its environment."""
    roots = {}
    for stage in dockerfile.stages():
        say(f"stage {stage.name or 'image'}, from {stage.base.partition('@')[0]}")
        root, env = replay(stage, roots, binary)
        roots[stage.name] = root
    return stage, root, env


def size(root, *folders):
    taken = lambda folder: run("du", "-sm", root / folder, capture_output=True, text=True).stdout.split()[0]
    return ", ".join(f"{taken(folder)} MB in {'all' if folder == '.' else folder}" for folder in folders)


# --- The server in it -----------------------------------------------------------------------------------------------------------


def fingerprint(root):
    """Everything in a root that a write would change: names, kinds, sizes, rights, and times of files and folders."""
    found = {}
    for folder, _, files in os.walk(root):
        for path in [folder, *(os.path.join(folder, name) for name in files)]:
            status = os.lstat(path)
            found[path] = (stat.S_IFMT(status.st_mode), status.st_mode, status.st_uid, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return found


class Container:
    """The server of an image as deploy/compose.yaml starts it: read-only, no rights, its own processes and network."""

    def __init__(self, stage, root, env, volumes, secret):
        self.user, self.env = stage.last("USER").value.split(":"), env
        self.command = [*stage.last("ENTRYPOINT").words(), *stage.last("CMD").words()]
        self.health = json.loads(stage.last("HEALTHCHECK").value.removeprefix("CMD "))
        self.box = ["bwrap", "--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--clearenv"]
        self.box += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]
        self.box += ["--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/tmp"]
        for folder, volume in volumes.items():
            self.box += ["--bind", volume, folder]
        self.box += ["--tmpfs", "/run", "--perms", "0755", "--dir", "/run/secrets", "--ro-bind", secret, "/run/secrets/keys.toml", "--remount-ro", "/run"]
        self.box += ["--ro-bind", ROOT / "deploy/stenopool.toml", "/etc/stenopool/stenopool.toml"]
        self.folder = stage.last("WORKDIR").value

    def start(self, **more):
        everything = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/var/lib/stenopool"} | self.env | more
        environment = [word for name, value in everything.items() for word in ("--setenv", name, value)]
        self.told, told = os.pipe()
        self.log = tempfile.TemporaryFile()
        command = [*self.box, *environment, "--json-status-fd", told, "--", *self.as_user(), "env", f"--chdir={self.folder}", *self.command]
        self.process = subprocess.Popen([*map(str, command)], pass_fds=[told], stdout=self.log, stderr=self.log)
        os.close(told)

    def as_user(self):
        uid, gid = self.user
        return ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]

    @property
    def pid(self):
        """The server's, as this machine counts. In the box it is the child of an init, as with compose's `init: true`."""
        if not hasattr(self, "found"):
            # Left open: how the server ends is told there, too.
            self.status = open(self.told)
            init = json.loads(self.status.readline())["child-pid"]
            deadline = time.monotonic() + 10
            while True:
                with contextlib.suppress(FileNotFoundError):
                    [child, *_] = pathlib.Path(f"/proc/{init}/task/{init}/children").read_text().split() or [None]
                    if child and pathlib.Path(f"/proc/{child}/comm").read_text().strip() == "stenopool":
                        self.found = int(child)
                        break
                assert time.monotonic() < deadline and self.process.poll() is None, f"the server does not start:\n{self.text()}"
                time.sleep(0.01)
        return self.found

    def exec(self, *command, user=True):
        """Runs a command beside the server, as `docker exec` does; how it ended."""
        enter = ["nsenter", "--target", self.pid, "--mount", "--pid", "--net", "--ipc", "--root", "--wd"]
        environment = [f"{name}={value}" for name, value in self.env.items()]
        there = ["env", "--ignore-environment", "PATH=/usr/local/bin:/usr/bin:/bin", *environment, *(self.as_user() if user else []), *command]
        return subprocess.run([*map(str, enter), *map(str, there)], capture_output=True, text=True)

    def curl(self, *arguments):
        """This machine's curl in the server's network."""
        return self.curl_with(KEY, *arguments)

    def curl_with(self, key, *arguments):
        command = ["nsenter", "--target", self.pid, "--net", "curl", "--silent", "--show-error", "--header", f"Authorization: Bearer {key}", *arguments]
        return subprocess.run([*map(str, command)], capture_output=True, text=True)

    def transcribe(self, recording, *more):
        return self.curl("-F", f"file=@{RECORDINGS / recording}", *more, "http://127.0.0.1:8080/v1/audio/transcriptions")

    def wait_until_well(self, patience=60):
        started = time.monotonic()
        while self.exec(*self.health).returncode != 0:
            assert self.process.poll() is None and time.monotonic() - started < patience, f"it does not get well:\n{self.text()}"
            time.sleep(0.05)
        return time.monotonic() - started

    def wait(self, patience):
        return self.process.wait(patience)

    def text(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")


def key_file(owner):
    """A key file as deploy/README.md has it made."""
    path = HERE / "keys.toml"
    digest = run("sha256sum", input=KEY, capture_output=True, text=True).stdout.split()[0]
    path.write_text(f'[[key]]\nname = "reception"\nhash = "sha256:{digest}"\n')
    os.chown(path, *map(int, owner))
    path.chmod(0o400)
    return path


@contextlib.contextmanager
def volumes_of(stage, root):
    """Named volumes: as the folders of the image that they cover are, at first."""
    with tempfile.TemporaryDirectory(dir=HERE) as above:
        os.chmod(above, 0o755)
        volumes = {}
        for folder in stage.last("VOLUME").words():
            volumes[folder] = pathlib.Path(above) / folder.replace("/", "-")
            run("cp", "--archive", root / folder.lstrip("/"), volumes[folder])
        yield volumes


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def container(stage, root, env):
    user = stage.last("USER").value.split(":")
    # Places to mount at, which Docker makes by itself.
    (root / "etc/stenopool").mkdir(exist_ok=True)
    (root / "etc/stenopool/stenopool.toml").touch()
    print(f"image: {size(root, '.', 'opt/stenopool', 'usr')}", flush=True)
    untouched = fingerprint(root)
    with volumes_of(stage, root) as volumes:
        new = lambda: Container(stage, root, env, volumes, key_file(user))

        print("without a key", flush=True)
        box = new()
        box.start()
        check("it ends with 78", (status := box.wait(60)) == 78, str(status))
        check("and says why, and what to do", "can be reached from other machines" in box.text() and "hint:" in box.text(), box.text().strip().splitlines()[0])

        print("as deploy/compose.yaml has it", flush=True)
        settings = {"STENOPOOL_CONFIG": "/etc/stenopool/stenopool.toml", "STENOPOOL_KEY_FILE": "/run/secrets/keys.toml"}
        box = new()
        box.start(**settings)
        check("it is well", True, f"after {box.wait_until_well():.1f} s, says `{' '.join(box.health)}`")
        status = pathlib.Path(f"/proc/{box.pid}/status").read_text()
        field = lambda name: next(line.split(None, 1)[1] for line in status.splitlines() if line.startswith(f"{name}:"))
        check("it is not root", set(field("Uid").split()) == {user[0]} and set(field("Gid").split()) == {user[1]}, field("Uid").replace("\t", " "))
        check("it has no capabilities, and gets none", int(field("CapEff"), 16) == int(field("CapBnd"), 16) == 0 and field("NoNewPrivs") == "1")
        for folder in ("/", "/opt/stenopool", "/etc", "/var/lib/stenopool", "/run", "/usr/local/bin"):
            refused = box.exec("touch", f"{folder}/x", user=False)
            check(f"not even root can write to {folder}", refused.returncode != 0 and "Read-only" in refused.stderr, refused.stderr.strip())
        text = json.loads(box.transcribe(SAID[0]).stdout or "{}").get("text", "")
        check("it writes down what is said", words(text) == words(SAID[1]), text)
        check("who has no key is refused", (code := box.curl_with("another", "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:8080/v1/models").stdout) == "401", code)
        check("it is ready, too", box.exec(*box.health, "--ready").stdout == "ready\n")
        check("there is a voice", (code := box.curl("-o", "/dev/null", "-w", "%{http_code} %{size_download}", "-H", "Content-Type: application/json", "-d", '{"input": "Hello there.", "voice": "alloy", "response_format": "wav"}', "http://127.0.0.1:8080/v1/audio/speech").stdout).startswith("200"), code)
        doctor = box.exec("stenopool", "doctor")
        check("doctor finds everything but a free address", [line.split()[1] for line in doctor.stdout.splitlines() if line.startswith("  NO")] in (["address"], ["address", "keys"]), doctor.stdout.strip().splitlines()[0])

        print("a CUDA call that fails", flush=True)
        os.kill(box.pid, signal.SIGABRT)
        check("ends it with 134", (status := box.wait(30)) == 128 + signal.SIGABRT, str(status))
        box = new()
        box.start(**settings)
        check("started again it is well", True, f"after {box.wait_until_well():.1f} s")

        print("SIGTERM while a long recording is read", flush=True)
        long = subprocess.Popen(["nsenter", "--target", str(box.pid), "--net", "curl", "-sS", "-H", f"Authorization: Bearer {KEY}", "-w", "\n%{http_code}",
                                 "-F", f"file=@{RECORDINGS / 'long-000.wav'}", "http://127.0.0.1:8080/v1/audio/transcriptions"], stdout=subprocess.PIPE, text=True)
        while json.loads(box.curl("http://127.0.0.1:8080/pool").stdout)["slots"]["leased"] == 0 and long.poll() is None:
            pass
        asked = long.poll() is None
        started = time.monotonic()
        os.kill(box.pid, signal.SIGTERM)
        status = box.wait(45)
        check("it stops within its grace", status == 0 and asked, f"exit code {status} after {time.monotonic() - started:.1f} s (45 are given)")
        answer = long.communicate()[0].splitlines()
        check("and finishes that first", answer[-1] == "200", answer[0][:80])

        print("what it left behind", flush=True)
        now = fingerprint(root)
        changed = {path for path in untouched.keys() | now.keys() if untouched.get(path) != now.get(path)}
        check("nothing outside of the volumes", not changed, ", ".join(sorted(changed)[:5]))
        for folder, volume in volumes.items():
            found = files_below(volume)
            check(f"{folder} holds only what belongs there", all(name.startswith(("knees.json", "cuda/")) for name in found), ", ".join(found) or "nothing")


# --- The service --------------------------------------------------------------------------------------------------------------


class Machine:
    """A root that was booted, with a network and processes of its own."""

    def __init__(self, root):
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe", f"--directory={root}"]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 60
        while self.ask("systemctl", "is-system-running") not in ("running", "degraded"):
            assert self.process.poll() is None and time.monotonic() < deadline, "it does not boot"
            time.sleep(0.1)

    def enter(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return ["nsenter", "--target", (children or ["0"])[0], "--all", "--wdns=/"]

    def do(self, *command, **options):
        return subprocess.run([*self.enter(), *map(str, command)], capture_output=True, text=True, **options)

    def ask(self, *command):
        return self.do(*command).stdout.strip()

    def of_service(self, name):
        return self.ask("systemctl", "show", "--property", name, "--value", "stenopool.service")

    def abort_server(self):
        """What a CUDA call that fails does."""
        aborted = self.do("sh", "-c", f"kill -ABRT {self.of_service('MainPID')}")
        assert aborted.returncode == 0, aborted.stderr

    def wait_for(self, name, is_so, patience=60):
        """Until a property of the service is as wanted."""
        deadline = time.monotonic() + patience
        while not is_so(found := self.of_service(name)):
            assert time.monotonic() < deadline, f"{name} stays {found}"
            time.sleep(0.02)

    def wait_until_well(self, patience=60):
        """How long that takes."""
        started = time.monotonic()
        while self.do("stenopool", "health", "--ready").returncode != 0:
            assert time.monotonic() - started < patience, self.ask("journalctl", "--unit=stenopool", "--no-pager", "--lines=20")
            time.sleep(0.05)
        return time.monotonic() - started

    def transcribe(self):
        """This machine's curl in that one's network; what the demo recording says."""
        enter = ["nsenter", "--target", self.enter()[2], "--net"]
        curl = ["curl", "-sS", "-H", f"Authorization: Bearer {KEY}", "-F", f"file=@{RECORDINGS / SAID[0]}", "http://127.0.0.1:8080/v1/audio/transcriptions"]
        return subprocess.run([*enter, *curl], capture_output=True, text=True)

    def power_off(self):
        self.do("systemctl", "poweroff")
        self.process.wait(60)


def installed(binary):
    """A fresh Debian with systemd, and Stenopool as deploy/install.sh installs it."""
    root = HERE / "service"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    run("tar", "--extract", "--numeric-owner", "--file", base("bookworm"), "--directory", root)
    inside(root, {}, {}, "/", "apt-get update && apt-get install -y --no-install-recommends systemd systemd-sysv espeak-ng")
    # The host's folders of Debian packages are none of a service's.
    run(ROOT / "deploy/install.sh", binary, env=os.environ | {"DESTDIR": str(root)}, stdout=subprocess.DEVNULL)
    inside(root, {}, {}, "/", "systemd-sysusers && grep stenopool /etc/passwd")
    settings = root / "etc/stenopool/stenopool.toml"
    settings.write_text(settings.read_text().replace('# key_file', 'key_file'))
    owner = next(line.split(":")[2:4] for line in (root / "etc/passwd").read_text().splitlines() if line.startswith("stenopool:"))
    run("cp", "--preserve=all", key_file(owner), root / "etc/stenopool/keys.toml")
    return root


def service(binary):
    assert binary, "name a program: scripts/check-deploy.sh units target/release/stenopool"
    root = installed(binary)
    machine = Machine(root)
    try:
        print("the service", flush=True)
        machine.do("systemctl", "start", "stenopool")
        check("it is well", True, f"after {machine.wait_until_well():.1f} s")
        text = json.loads(machine.transcribe().stdout or "{}").get("text", "")
        check("it writes down what is said", words(text) == words(SAID[1]), text)
        main_pid = machine.of_service("MainPID")
        status = machine.ask("cat", f"/proc/{main_pid}/status")
        field = lambda name: next(line.split(None, 1)[1] for line in status.splitlines() if line.startswith(f"{name}:"))
        owner = machine.ask("id", "-u", "stenopool")
        check("it runs as stenopool", set(field("Uid").split()) == {owner}, field("Uid").replace("\t", " "))
        check("it has no capabilities, and gets none", int(field("CapEff"), 16) == int(field("CapBnd"), 16) == 0 and field("NoNewPrivs") == "1")
        check("its system calls are filtered", field("Seccomp") == "2")
        for folder in ("/etc", "/opt/stenopool", "/usr", "/var/lib", "/home"):
            refused = machine.do("nsenter", "--target", main_pid, "--mount", "touch", f"{folder}/x")
            check(f"not even root can write to {folder} where it is", refused.returncode != 0, refused.stderr.strip())
        for folder in ("/var/lib/stenopool/models", "/var/cache/stenopool", "/tmp"):
            check(f"it can write to {folder}", machine.do("nsenter", "--target", main_pid, "--mount", "setpriv", "--reuid", "stenopool", "--clear-groups", "touch", f"{folder}/x").returncode == 0)
        voice = machine.do("sh", "-c", "journalctl --unit stenopool --no-pager | grep -m1 voice:").stdout.strip()
        check("it has found espeak-ng", "espeak-ng" in voice, voice.rpartition("stenopool")[2])

        print("a CUDA call that fails", flush=True)
        machine.abort_server()
        machine.wait_for("MainPID", lambda pid: pid not in (main_pid, "0"))
        check("it is started again, and well", machine.of_service("NRestarts") == "1", f"after {machine.wait_until_well():.1f} s")
        again_at = machine.of_service("MainPID")
        check("as another process", again_at != main_pid)

        if b"LISTEN_FDS" in pathlib.Path(binary).read_bytes():
            print("with the socket", flush=True)
            machine.do("systemctl", "stop", "stenopool")
            machine.do("systemctl", "start", "stenopool.socket")
            machine.do("systemctl", "start", "stenopool")
            machine.wait_until_well()
            machine.abort_server()
            started = time.monotonic()
            answer = machine.transcribe()
            text = json.loads(answer.stdout or "{}").get("text", "")
            check("a call while it starts again waits", words(text) == words(SAID[1]), f"{text or answer.stderr} after {time.monotonic() - started:.1f} s")

        print("systemctl stop", flush=True)
        started = time.monotonic()
        machine.do("systemctl", "stop", "stenopool")
        check("it stops within its grace", machine.of_service("ExecMainStatus") == "0" and machine.of_service("Result") == "success", f"after {time.monotonic() - started:.1f} s")

        print("a wrong setting", flush=True)
        machine.do("systemctl", "stop", "stenopool.socket")
        machine.do("sh", "-c", "echo STENOPOOL_SLOTS=none >/etc/stenopool/environment; systemctl reset-failed stenopool; systemctl start stenopool")
        machine.wait_for("ActiveState", lambda state: state in ("failed", "inactive"))
        ended = machine.of_service("ExecMainStatus"), machine.of_service("NRestarts"), machine.of_service("ActiveState")
        check("it ends with 78 and is not started again", ended == ("78", "0", "failed"), " ".join(ended))
    finally:
        machine.power_off()


def main():
    [mode, *binary] = sys.argv[1:]
    binary = pathlib.Path(binary[0]).resolve() if binary else None
    assert binary is None or os.access(binary, os.X_OK), f"{binary} is no program"
    HERE.mkdir(parents=True, exist_ok=True)
    (HERE / "steps.log").write_text("")
    started = time.monotonic()
    if mode == "units":
        service(binary)
    else:
        container(*image(binary))
    say(f"{'FAILED' if check.failed else 'ok'}, in {time.monotonic() - started:.0f} s")
    sys.exit(check.failed)


if __name__ == "__main__":
    main()
