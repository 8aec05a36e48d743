"""Every page is followed to the letter: its blocks run one after the other in an empty directory.

A page goes on from the README's store: what "A real use" made is there, and nothing else. A block that cannot be run
here has a comment above it that says why; the reasons are counted, so that none is added unseen.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, Reader, blocks

PAGES = sorted(page for page in (ROOT / "docs").glob("*.md") if any(blocks(page)))
# reasons, and how many blocks have them
NOT_RUN = {"needs a cluster": 6, "needs Docker": 1, "needs a GPU": 2, "takes most of an hour": 1}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def readme(tmp_path_factory: pytest.TempPathFactory, home: Path) -> Path:
    """What a reader has after the README's commands."""
    folder = tmp_path_factory.mktemp("readme")
    first = next(block for block in blocks(ROOT / "README.md") if "protea-ray embed" in block.text)
    first.follow(Reader(folder, home))
    return folder


@pytest.mark.slow
@pytest.mark.timeout(1500)  # the first page of a process waits for the README's commands too, a minute or several
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_followed(page: Path, readme: Path, home: Path, tmp_path: Path) -> None:
    run = [block for block in blocks(page) if block.why_not is None]
    if not run:
        pytest.skip(f"no block of {page.name} can be run here")
    folder = tmp_path / "work"
    shutil.copytree(readme, folder)
    reader = Reader(folder, home)
    try:
        for block in run:
            block.follow(reader)
    finally:
        reader.close()


def test_what_is_not_run_says_why() -> None:
    reasons = [block.why_not for page in PAGES for block in blocks(page) if block.why_not is not None]

    assert {reason: reasons.count(reason) for reason in set(reasons)} == NOT_RUN


def test_a_block_that_fails_is_noticed(tmp_path: Path) -> None:
    reader = Reader(tmp_path, tmp_path)
    Block("page", 1, "bash", "test -e .", None).follow(reader)
    with pytest.raises(AssertionError, match="ends with 1"):
        Block("page", 1, "bash", "false; true", None).follow(reader)
    with pytest.raises(AssertionError, match="names its file"):
        Block("page", 1, "yaml", "model: small", None).follow(reader)


@pytest.mark.slow
def test_python_that_fails_is_noticed_and_names_stay(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    reader = Reader(folder, tmp_path)
    try:
        Block("page", 1, "python", "one = 1", None).follow(reader)
        Block("page", 2, "python", "assert one == 1", None).follow(reader)
        with pytest.raises(AssertionError, match=r"page:3\n.*\nAssertionError"):
            Block("page", 3, "python", "assert one == 2", None).follow(reader)
    finally:
        reader.close()
