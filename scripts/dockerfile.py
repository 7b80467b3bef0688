"""Dockerfile.cuda as stages of instructions, for checks and for trying its steps without Docker."""
import dataclasses
import io
import json
import pathlib
import re
import shlex

from dockerfile_parse import DockerfileParser

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass
class Instruction:
    """One instruction with its flags apart: `COPY --from=build a b` has `flags["from"]` and the value `a b`."""

    name: str
    value: str
    flags: dict
    line: int

    def words(self):
        """The value as a list: of its JSON form, or of words."""
        return json.loads(self.value) if self.value.startswith("[") else shlex.split(self.value)

    def pairs(self):
        """The value as KEY=VALUE pairs, of ENV, LABEL and ARG. A lone KEY is empty."""
        return {key: value for key, _, value in (word.partition("=") for word in shlex.split(self.value))}


@dataclasses.dataclass
class Stage:
    """A FROM, what it is called, and what follows it."""

    base: str
    name: str
    instructions: list

    def all(self, name):
        return [instruction for instruction in self.instructions if instruction.name == name]

    def last(self, name):
        """The one that counts; None without one."""
        return next(iter(reversed(self.all(name))), None)

    def merged(self, name):
        """All pairs of ENV or LABEL."""
        return {key: value for each in self.all(name) for key, value in each.pairs().items()}


def instruction(parsed):
    flags, value = {}, parsed["value"].strip()
    while found := re.match(r"--([a-z-]+)=(\S+)\s+", value):
        flags[found[1]] = found[2]
        value = value[found.end():]
    return Instruction(parsed["instruction"].upper(), value, flags, parsed["startline"] + 1)


def stages(path=ROOT / "Dockerfile.cuda"):
    """The stages of a Dockerfile, in order. What stands before the first FROM is refused: we have none of it."""
    parser = DockerfileParser(fileobj=io.BytesIO(path.read_bytes()), env_replace=False)
    found = []
    for parsed in parser.structure:
        each = instruction(parsed)
        if each.name == "COMMENT":
            continue
        if each.name == "FROM":
            base, _, name = each.value.partition(" AS ")
            found.append(Stage(base.strip(), name.strip(), []))
        else:
            assert found, f"{path}:{each.line}: {each.name} before the first FROM"
            found[-1].instructions.append(each)
    return found


def context(path=ROOT / ".dockerignore"):
    """What `.dockerignore` lets through. Ours refuses all (`*`) and then names what is needed; no other form is known here."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    assert lines[0] == "*" and all(line.startswith("!") for line in lines[1:]), f"{path}: first *, then only !PATH"
    return [line.removeprefix("!") for line in lines[1:]]
