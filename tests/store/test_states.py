"""Four states: each says what is the matter and how to get out of it, and the way out, carried out, ends sound.

What the commands say is carried out to the letter: `mv` by a shell, commands of the program by the program; only
`embed` and `import`, which need a model or a file, are played by writing the same rows again.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from protea_ray.store.findings import BEING_WRITTEN, DAMAGED, SOUND, UNFINISHED
from protea_ray.store.lease import _RECORD, this_process
from protea_ray.store.location import Location
from protea_ray.store.next_command import ways_out
from protea_ray.store.spaces import ensure_space
from protea_ray.store.tables import open_table
from protea_ray.store.verify import verify
from tests import commands
from tests.store import build, rich

TABLES = ("proteins", "sources", "rejects", "runs", "aliases", "lease", *rich.SPACES)


def embed_again(location: Location) -> None:
    """What `embed` and `import` of the same inputs write: sources, then the rows that each space lacks."""
    for label, numbers in ((rich.A, rich.OF_A), (rich.B, rich.OF_B)):
        rich.ingest(location, label, numbers)
    schema = build.schema(build.WIDTH)
    ensure_space(location, build.info(rich.WHOLE), schema)
    ensure_space(location, build.info(rich.CHUNKED, identity={"config": {"chunk_size": rich.CHUNK}}), rich._CHUNKED)
    ensure_space(location, build.info(rich.TAKEN, imported=True, identity={"import": 1}), rich._TAKEN)
    make = {
        rich.WHOLE: lambda n: build.rows(n, "again.0", schema, with_residues=True),
        rich.CHUNKED: lambda n: rich.chunked_rows(n, "again.0"),
        rich.TAKEN: rich.taken_rows,
    }
    number = {build.key(n).hex(): n for n in range(20)}
    for _ in range(3):  # a finding names ten keys at most
        for finding in verify(location).findings:
            if finding.kind == "missing":
                rich.append(location, finding.table, make[finding.table]([number[key] for key in finding.keys]))


def carry_out(location: Location) -> None:
    """Follow what verify says until the store is sound; three times are enough."""
    for _ in range(3):
        report = verify(location)
        if report.state == SOUND:
            return
        lines = ways_out(location, report)
        assert lines, report.findings
        for line in lines:
            if line.startswith(("protea-ray embed", "protea-ray import")):
                embed_again(location)
            elif line.startswith("mv "):
                subprocess.run(line, shell=True, check=True)
            else:
                done = commands.call(*shlex.split(line)[1:])
                assert done.returncode in (0, 1), f"{line}: {done.stderr}"
    report = verify(location)
    assert report.state == SOUND, [*map(str, report.findings), *ways_out(location, report)]


LOST = {
    "proteins": DAMAGED,
    "sources": DAMAGED,
    "rejects": DAMAGED,
    "runs": SOUND,  # only the history of runs is gone, which is said
    "aliases": DAMAGED,
    "lease": SOUND,  # whoever writes next makes it anew, which is said
    rich.WHOLE: DAMAGED,  # `current` points to it
    rich.CHUNKED: SOUND,  # nothing tells a space that nobody points to from one that was dropped
    rich.TAKEN: SOUND,
}


@pytest.mark.parametrize("table", TABLES)
def test_a_lost_table_is_found_and_the_way_out_ends_sound(rich_location: Location, table: str) -> None:
    assert verify(rich_location).state == SOUND
    shutil.rmtree(rich_location.table(table))
    report = verify(rich_location)
    assert report.state == LOST[table], report.findings
    if table not in (rich.CHUNKED, rich.TAKEN):
        assert table in " ".join(map(str, report.findings))
    carry_out(rich_location)


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    path.write_bytes(raw)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.slow  # 70 stores
@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("damage", [*DAMAGES, "manifest cut", "manifest flipped", "manifest gone"])
def test_a_damaged_file_is_a_state_and_never_a_traceback(rich_location: Location, table: str, damage: str) -> None:
    folder = Path(rich_location.table(table))
    versions = sorted((folder / "_versions").glob("*.manifest"))  # newest first: their names count down
    files = [versions[0]] if "manifest" in damage else sorted((folder / "data").glob("*.lance"))[:1]
    if not files:
        pytest.skip("the lease has no data files")
    DAMAGES[damage.removeprefix("manifest ")](files[0])
    done = commands.call("verify", rich_location.uri)
    assert done.returncode in (0, 1, 4), done.stdout + done.stderr
    assert all(len(line) <= 100 for line in done.stdout.splitlines() if not line.startswith("next"))
    carry_out(rich_location)


@pytest.mark.parametrize("damaged", [b'{2widths"', b'{"2idths"'])
def test_a_damaged_description_of_vectors_is_a_state_too(rich_location: Location, damaged: bytes) -> None:
    versions = Path(rich_location.table("taken-00000003")) / "_versions"
    newest = min(versions.glob("*.manifest"))
    content = newest.read_bytes()
    assert content.count(b'{"widths"') == 1
    newest.write_bytes(content.replace(b'{"widths"', damaged))
    done = commands.call("verify", rich_location.uri)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "unreadable: taken-00000003" in done.stdout
    assert "vectors" in done.stdout


def test_a_store_with_proteins_and_no_vectors_is_unfinished(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    build.ingest(location, build.proteins(range(10, 18), "/in/b c.fasta#d2"), "/in/b c.fasta#d2", "d2")
    done = commands.call("verify", location.uri)
    said = done.stdout.splitlines()
    assert done.returncode == 4
    assert said[0] == "unfinished: esm2-00000001 lacks 8 proteins; nothing is damaged"
    assert said[1].strip().startswith("missing: esm2-00000001: 8 of 18 proteins have neither a vector")
    assert "and 5 more" in " ".join(said)
    assert build.key(10).hex() not in done.stdout
    (line,) = (line for line in said if line.startswith("next"))
    words = shlex.split(line.removeprefix("next: "))
    assert words[:4] == ["protea-ray", "embed", "/data/a.fasta", location.uri]
    assert words[4:] == ["--model", "m"]
    found = json.loads(commands.call("verify", location.uri, "--json").stdout.splitlines()[-1])
    assert (found["state"], found["ok"], len(found["findings"][0]["keys"])) == ("unfinished", False, 8)
    assert len(found["findings"][0]["ids"]) == 3


def hold(location: Location, host: str = "elsewhere") -> None:
    """Write a record of a process of another machine, which cannot be looked at, into the lease."""
    holder = replace(this_process(time.time(), 60.0), host=host)
    open_table(location.table("lease")).update_config({_RECORD: holder.to_json()})


def test_what_is_missing_while_somebody_writes_is_not_judged(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    build.ingest(location, build.proteins(range(10, 18), "b"), "b", "d2")
    hold(location)
    report = verify(location)
    assert (report.state, report.judged) == (BEING_WRITTEN, ())
    done = commands.call("verify", location.uri)
    assert done.returncode == 5
    assert "being written by process" in done.stdout
    assert "on elsewhere, since 20" in " ".join(done.stdout.split())
    assert "neither a vector" not in done.stdout
    assert f"next: when it has ended: protea-ray verify {location.uri}" in done.stdout


def test_a_damaged_row_is_damage_while_somebody_writes(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    build.fill(location, "esm2-00000001", range(3), "again", build.schema())
    hold(location)
    done = commands.call("verify", location.uri)
    assert (done.returncode, verify(location).state) == (1, DAMAGED)
    assert "on elsewhere" in done.stdout
    assert "is writing: wait for it to end" in done.stdout


def test_unfinished_has_its_own_state(tmp_path: Path) -> None:
    location = build.store(tmp_path / "s", range(10))
    build.writer().append_table(location.table("proteins"), build.proteins([30], "half#1"))
    assert verify(location).state == UNFINISHED
