"""The pages say what is there: files that exist, commands as the program prints them, HTML without a warning."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools import cli_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
PLANNED = {"encoder/variants.py"}  # rooms of docs/architecture.md
_PATH = re.compile(r"`([a-z_./0-9]+(?:\.py|/))`")


def paths(page: Path) -> set[str]:
    """Folders and Python files that a page names as code."""
    return set(_PATH.findall(page.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_files_that_a_page_names_exist(name: str) -> None:
    named = paths(ROOT / name) - PLANNED

    assert len(named) > 5
    assert not [path for path in named if not (ROOT / "protea_ray" / path).exists() and not (ROOT / path).exists()]


def test_the_architecture_names_every_folder_of_the_package() -> None:
    folders = {f"{path.parent.name}/" for path in (ROOT / "protea_ray").glob("*/__init__.py")}

    assert folders <= paths(ROOT / "docs/architecture.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert re.match(r"https?://", target) or (page.parent / target).exists(), target


def test_the_page_of_commands_is_current() -> None:
    assert cli_page.PAGE.read_text(encoding="utf-8") == cli_page.page(), "python -m tools.cli_page"


def test_every_command_has_its_help() -> None:
    page = cli_page.page()

    assert page.count("Usage: protea-ray ") == page.count("```text") == page.count("\n## protea-ray ") + 1
    assert "## protea-ray embed\n\n```text\nUsage: protea-ray embed [OPTIONS]" in page


@pytest.mark.slow
def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", tmp_path / "doctrees", "-c", "docs"]
    done = subprocess.run([*command, ".", tmp_path / "html"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    api = (tmp_path / "html" / "docs" / "api.html").read_text(encoding="utf-8")
    import protea_ray

    assert [name for name in protea_ray.__all__ if f'id="protea_ray.{name}"' not in api] == []
