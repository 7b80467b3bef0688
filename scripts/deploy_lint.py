#!/usr/bin/env python3
"""Checks what no linter knows of our deployment: what an image and its compose file must have, and that numbers which stand in
several places agree.

    deploy_lint.py COMPOSE      where COMPOSE is what `docker-compose config --format json` prints

Run by scripts/check-deploy.sh, which brings what this needs.
"""
import configparser
import json
import re
import sys
import tomllib

import dockerfile
from dockerfile import ROOT
from running import check

# What a stopping server needs behind the grace for those it serves: see the comments beside both timeouts.
TO_CLOSE_SECONDS = 15
WILL_NOT_GET_BETTER = {"2", "69", "78"}


def image():
    print("Dockerfile.cuda")
    stages = dockerfile.stages()
    final = stages[-1]
    check("the compiler stays behind in a stage of its own", len(stages) > 1 and stages[0].name)
    for stage in stages:
        pinned = re.fullmatch(r"[a-z.:/0-9-]+:(?!latest)[\w.-]+@sha256:[0-9a-f]{64}", stage.base)
        check("base is pinned by tag and digest", pinned, stage.base.split("@")[0])
    every = [each for stage in stages for each in stage.instructions]
    check("nothing is ADDed, from the network above all", not [each for each in every if each.name == "ADD"])
    user = final.last("USER")
    check("runs as a user with a fixed number, not root", user and re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user.value), user and user.value)
    health = final.last("HEALTHCHECK")
    check("has a health check that needs no shell", health and re.fullmatch(r'CMD \[.*"health".*\]', health.value))
    check("is stopped with SIGTERM", (stop := final.last("STOPSIGNAL")) and stop.value == "SIGTERM")
    volumes = final.last("VOLUME").words()
    env = final.merged("ENV")
    check("models are in a volume", env["STENOPOOL_MODELS_DIR"] in volumes)
    caches = [env["XDG_CACHE_HOME"] + "/stenopool", env["CUDA_CACHE_PATH"]]
    check("caches are in a volume", all(any(f"{cache}/".startswith(f"{volume}/") for volume in volumes) for cache in caches))
    port = env["STENOPOOL_BIND"].rpartition(":")[2]
    check("exposes the port that is bound", final.last("EXPOSE").value == port, port)
    wanted = {"title", "description", "source", "licenses", "version", "revision", "base.name"}
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in final.merged("LABEL").items()}
    check("has the labels of the OCI", wanted <= labels.keys(), ", ".join(sorted(wanted - labels.keys())))
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    for label, key in [("version", "version"), ("licenses", "license"), ("description", "description"), ("source", "repository")]:
        check(f"label {label} is that of Cargo.toml", labels.get(label) == package[key], labels.get(label))
    check("label base.name is the base", labels.get("base.name", "").endswith("/" + final.base.partition("@")[0]))
    needed = re.match(r"\d+\.\d+", package["rust-version"])[0]
    check("is built with the Rust that Cargo.toml asks for", stages[0].base.startswith(f"rust:{needed}"))
    secret = re.compile(r"key|token|password|secret", re.IGNORECASE)
    named = [key for stage in stages for each in stage.all("ENV") + stage.all("ARG") for key in each.pairs()]
    check("no key is baked in", not any(map(secret.search, named)))
    allowed = dockerfile.context()
    missing = [path for path in allowed if not (ROOT / path).exists()]
    check("all that the context lets through exists", not missing, ", ".join(missing))
    copied = [source for stage in stages for each in stage.all("COPY") if "from" not in each.flags for source in each.words()[:-1]]
    outside = [path for path in copied if not any(f"{path}/".startswith(f"{ours}/") for ours in allowed)]
    check("the context lets through what is copied", not outside, ", ".join(outside))
    unused = [path for path in allowed if not any(f"{path}/".startswith(f"{ours}/") for ours in copied)]
    check("and nothing else", not unused, ", ".join(unused))
    return {"port": int(port), "volumes": set(volumes)}


def seconds(text):
    """Of Go's or systemd's durations, as in 45s, 1m30s, 500ms or 45."""
    units = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "": 1}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([a-z]*)", str(text)))


def compose(image, settings, config):
    print("deploy/compose.yaml")
    service = config["services"]["stenopool"]
    check("the root file system is read-only", service.get("read_only"))
    check("has no capabilities and gets none", service["cap_drop"] == ["ALL"] and "no-new-privileges:true" in service["security_opt"])
    check("is not privileged", not service.get("privileged") and not service.get("cap_add"))
    check("/tmp is in memory", any(mount.startswith("/tmp:") and "size=" in mount for mount in service["tmpfs"]))
    check("every volume of the image has a name", {volume["target"] for volume in service["volumes"]} == image["volumes"])
    [port] = service["ports"]
    check("publishes the image's port, on loopback unless told otherwise", (port["target"], port["host_ip"]) == (image["port"], "127.0.0.1"))
    [device] = service["deploy"]["resources"]["reservations"]["devices"]
    check("reserves GPUs", device["driver"] == "nvidia" and device["capabilities"] == ["gpu"])
    check("comes back after an abort, and after the machine was started anew", service["restart"] == "unless-stopped")
    check("an init reports an abort as one", service.get("init"))
    # Zeros are left out when compose prints JSON.
    check("an abort writes no core", service["ulimits"]["core"] in (0, {}, {"soft": 0, "hard": 0}))
    grace = settings["server"]["shutdown_grace_s"] + TO_CLOSE_SECONDS
    check("stopping takes as long as the server may", seconds(service["stop_grace_period"]) == grace, service["stop_grace_period"])
    check("the health check is the server's own", service["healthcheck"]["test"][:2] == ["CMD", "stenopool"])
    environment = service["environment"]
    check("keys come from a secret", environment["STENOPOOL_KEY_FILE"] == "/run/secrets/" + service["secrets"][0]["target"])
    check("settings come from the file", environment["STENOPOOL_CONFIG"] == service["configs"][0]["target"])
    check("models are in the volume", settings["models"]["dir"] in image["volumes"])


def unit(name):
    """A unit file as `{section: {key: [values]}}`."""
    class Repeated(dict):
        def __setitem__(self, key, value):
            if isinstance(value, list) and key in self:
                self[key].extend(value)
            else:
                super().__setitem__(key, value)

    parser = configparser.RawConfigParser(strict=False, dict_type=Repeated, comment_prefixes=("#", ";"), delimiters=("=",), empty_lines_in_values=False)
    parser.optionxform = str
    parser.read_string((ROOT / "deploy" / name).read_text())
    return {section: {key: value.split("\n") for key, value in parser.items(section)} for section in parser.sections()}


def units(settings):
    print("deploy/stenopool.service and .socket")
    service, socket = unit("stenopool.service")["Service"], unit("stenopool.socket")["Socket"]
    grace = settings["server"]["shutdown_grace_s"] + TO_CLOSE_SECONDS
    check("stopping takes as long as the server may", seconds(service["TimeoutStopSec"][0]) == grace, service["TimeoutStopSec"][0])
    check("comes back after an abort", service["Restart"] == ["on-failure"] and seconds(service["RestartSec"][0]) <= 1)
    check("exit codes that will not get better end it", set(service["RestartPreventExitStatus"][0].split()) == WILL_NOT_GET_BETTER)
    check("an abort writes no core", service["LimitCORE"] == ["0"])
    check("the GPUs can be opened, and no other devices", (service["DevicePolicy"], service["DeviceAllow"]) == (["closed"], ["char-nvidia* rw"]))
    for key in ("MemoryDenyWriteExecute", "PrivateDevices"):
        check(f"{key}= is left out, which CUDA would not bear", key not in service)
    check("the socket is where the server would be", socket["ListenStream"] == [settings["server"]["bind"]], socket["ListenStream"][0])
    check("settings are where the README puts them", "STENOPOOL_CONFIG=/etc/stenopool/stenopool.toml" in service["Environment"])
    check("models are in the state directory", settings["models"]["dir"] in [f"/var/lib/{each}" for each in service["StateDirectory"][0].split()])


def main():
    settings = tomllib.loads((ROOT / "deploy" / "stenopool.toml").read_text())
    with open(sys.argv[1]) as config:
        config = json.load(config)
    compose(image(), settings, config)
    units(settings)
    sys.exit(check.failed)


if __name__ == "__main__":
    main()
