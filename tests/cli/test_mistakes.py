"""From a typo to its message: one line of a known form, the exit code, nothing imported that takes a second, no folder.

Every command has a row for each kind of mistake that it can be given. The names of commands are checked, so that a new
command has rows too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from protea_ray.cli.main import COMMANDS, app
from protea_ray.cli.outcome import carry_out
from tests import commands

NO_STORE, NO_FILE = "there is no store at", "no such file"
A_FILE, FOREIGN = "is a file", "is a directory without tables"
ON_A_STORE = (
    "status",
    "query",
    "drift",
    "export",
    "alias",
    "index",
    "verify",
    "repair",
    "upkeep",
    "forget",
    "drop-space",
)
REST = {
    "drift": ("current", "current"), "export": ("x.npz",), "drop-space": ("some",), "query": ("--id", "a"),
    "alias": ("name", "current"), "reembed": ("--model", "small"),
}  # fmt: skip
MISTAKES = [
    *((1, NO_STORE, (name, "nostore", *REST.get(name, ()))) for name in (*ON_A_STORE, "reembed")),
    *((1, "did you mean stored?", (name, "storde", *REST.get(name, ()))) for name in (*ON_A_STORE, "reembed")),
    *((1, A_FILE, (name, "p.fasta", *REST.get(name, ()))) for name in (*ON_A_STORE, "reembed")),
    *((1, FOREIGN, (name, "folder", *REST.get(name, ()))) for name in (*ON_A_STORE, "reembed")),
    *((2, "there is no option --bogus", (name, "--bogus")) for group in COMMANDS.values() for name in group),
    (2, "no such command 'statsu'. Did you mean 'status'?", ("statsu",)),
    (2, "STORE is missing", ("status",)),
    # a list with spaces, and an option that is given once for each value
    (2, "write protea-ray embed p.fasta s --pooling mean,max", ("embed", "p.fasta", "s", "--pooling", "mean", "max")),
    (2, "write protea-ray embed --layers=0,1 'my file' s", ("embed", "--layers=0", "1", "my file", "s")),
    (2, "write protea-ray embed p.fasta s --outputs embeddings,logits",
     ("embed", "p.fasta", "s", "--outputs", "embeddings,", "logits")),
    (2, "write protea-ray reembed stored --pooling mean,max,cls --model small",
     ("reembed", "stored", "--pooling", "mean", "max", "cls", "--model", "small")),
    (2, "write protea-ray train stored out --lora-targets q,v",
     ("train", "stored", "out", "--lora-targets", "q", "v")),
    (2, "write protea-ray maps p.fasta x.npz --outputs attention,contacts",
     ("maps", "p.fasta", "x.npz", "--outputs", "attention", "contacts")),
    (2, "write protea-ray query stored --id a --id b", ("query", "stored", "--id", "a", "b")),
    # stores, files and folders in each other's place
    (2, "INPUT stored is a store", ("embed", "stored", "s")),
    (2, "INPUT link is a store", ("embed", "link", "p.fasta", "s")),
    (2, "wrong order; write protea-ray embed p.fasta stored", ("embed", "stored", "p.fasta")),
    (2, "STORE p.fasta is a file", ("embed", "q.fasta", "p.fasta")),
    (2, "STORE folder holds other files (data.csv), and no store", ("embed", "p.fasta", "folder")),
    (2, "STORE folder holds other files", ("import", "p.fasta", "folder", "--model", "m")),
    (2, "STORE p.fasta is a file", ("import", "q.fasta", "p.fasta", "--model", "m")),
    (2, "STORE and OUT are in the wrong order", ("train", "out", "stored")),
    (2, NO_STORE, ("train", "nostore", "out", "--shape", "small")),
    (2, "at least one INPUT and then the STORE", ("embed", "p.fasta")),
    # inputs that are not there
    (1, "p.fsta: no such file; did you mean p.fasta?", ("embed", "p.fsta", "s")),
    (1, "*.fastq: no file matches this pattern", ("embed", "*.fastq", "s")),
    (1, "looks like plain text", ("embed", "note.txt", "s")),
    (1, NO_FILE, ("maps", "nosuch", "x.npz")),
    (1, NO_FILE, ("import", "nosuch", "stored", "--model", "m")),
    (1, NO_FILE, ("import", "p.fasta", "stored", "--model", "m", "--fasta", "nosuch")),
    (1, NO_FILE, ("convert-protea", "nosuch")),
    (1, "there is no directory ./nomodel", ("embed", "p.fasta", "s", "--model", "./nomodel")),
    (1, "there is no directory ./nomodel", ("reembed", "stored", "--model", "./nomodel")),
    # fields, values, numbers
    (2, "unknown field 'unit_seconds'; did you mean run.unit_seconds?",
     ("embed", "p.fasta", "s", "--set", "unit_seconds=6")),
    (2, "unknown field 'run.unit_second'; did you mean run.unit_seconds?",
     ("reembed", "stored", "--model", "small", "--set", "run.unit_second=6")),
    (2, "unknown field 'poolin'; did you mean pooling?", ("embed", "p.fasta", "s", "--config", "run.yaml")),
    (2, "no such file; did you mean run.yaml?", ("embed", "p.fasta", "s", "--config", "run.yml")),
    (2, "write name=value", ("embed", "p.fasta", "s", "--set", "x")),
    (2, "pooling: 'meen' is not mean, max, cls, mean_max, std or none; did you mean mean?",
     ("reembed", "stored", "--model", "small", "--pooling", "meen")),
    *((2, f"'bogus' is not {first}", ("embed", "p.fasta", "s", option, "bogus")) for option, first in {
        "--pooling": "mean", "--outputs": "embeddings", "--alphabet": "aa", "--layer-agg": "mean",
        "--on-long": "window",
        "--chunk-mode": "posthoc", "--dtype": "float32", "--store-dtype": "float16", "--quantization": "int8",
        "--device": "auto", "--kernel": "auto", "--compile": "auto", "--products": "auto",
    }.items()),
    (2, "attention: 'bogus' is not known", ("embed", "p.fasta", "s", "--attention", "bogus")),
    (2, "layers.0: Input should be a valid integer", ("embed", "p.fasta", "s", "--layers", "last")),
    (2, "run.limit: Input should be a valid integer", ("embed", "p.fasta", "s", "--limit", "many")),
    (2, "name the new checkpoint with --model", ("reembed", "stored")),
    (2, "did you mean small?", ("train", "stored", "out", "--shape", "smal", "--epochs", "1")),
    (2, "'contact' is not attention or contacts; did you mean contacts?",
     ("maps", "p.fasta", "x.npz", "--outputs", "contact")),
    (2, "the ending must be .npz", ("maps", "p.fasta", "x.txt")),
    (2, "--model is missing", ("import", "p.fasta", "stored")),
    *((2, "invalid value for", (*given, "x")) for given in (
        ("query", "stored", "-k"), ("index", "stored", "--min-rows"), ("upkeep", "stored", "--keep-hours"),
        ("drift", "stored", "a", "b", "--sample"), ("alias", "stored", "a", "b", "--version"),
        ("synth", "x.fasta", "-n"), ("doctor", "--minutes"), ("export", "stored", "x.npz", "--version"),
        ("import", "p.fasta", "stored", "--model", "m", "--layer"), ("reembed", "stored", "--since"),
        ("train", "stored", "out", "--rate"),
    )),
    # files that cannot be written
    (2, "nodir is not a directory", ("maps", "p.fasta", "nodir/x.npz")),
    (2, "nodir is not a directory", ("import", "p.fasta", "stored", "--model", "m", "--unmatched", "nodir/u.txt")),
    (2, "nodir is not a directory", ("convert-protea", "p.fasta", "--out", "nodir/run.yaml")),
    (2, "--only: only with --acceptance", ("doctor", "--only", "numbers")),
    (2, "ftp://x is not an http URL", ("doctor", "--dashboard", "ftp://x")),
]  # fmt: skip
# what opens the store, or reads or writes tables: it may import what that needs, and no more than that
ON_TABLES = [
    (
        2,
        "has no space or alias 'curent'; did you mean current?",
        ("query", "{store}", "--id", "a", "--space", "curent"),
    ),
    (2, "has no pooling 'mx'", ("query", "{store}", "--nearest", "a", "--pooling", "mx")),
    (2, "has no space or alias 'nospace'", ("export", "{store}", "x.npz", "--space", "nospace")),
    (2, "nodir is not a directory", ("export", "{store}", "nodir/x.npz")),
    (2, "nodir is not a directory", ("query", "{store}", "--where", "length > 3", "--out", "nodir/x.parquet")),
    (2, "No field named lenght. Did you mean 'length'. Columns", ("query", "{store}", "--where", "lenght > 3")),
    (2, "has no space or alias 'nospace'", ("alias", "{store}", "new", "nospace")),
    (2, "name the space", ("alias", "{store}", "new")),
    (2, "has no space or alias 'nospace'", ("drift", "{store}", "current", "nospace")),
    (2, "has no space or alias 'nospace'", ("verify", "{store}", "--space", "nospace")),
    (2, "has no space or alias 'nospace'", ("repair", "{store}", "--space", "nospace")),
    (2, "has no space or alias 'nospace'", ("index", "{store}", "--space", "nospace")),
    (2, "has no pooling 'mx'", ("index", "{store}", "--pooling", "mx")),
    (2, "has no space 'nospace'", ("drop-space", "{store}", "nospace")),
    (1, "has no source 'nosource'", ("forget", "{store}", "nosource")),
    (2, "synth: nodir/x.fasta cannot be written", ("synth", "nodir/x.fasta")),
    (2, "p.fasta exists already", ("synth", "p.fasta")),
    (1, "is not a file of vectors", ("import", "p.fasta", "{store}", "--model", "m")),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what a person may mistake for something else."""
    (tmp_path / "p.fasta").write_text(">a\nMKTAYIAKQR\n")
    (tmp_path / "note.txt").write_text("hello world\n")
    (tmp_path / "run.yaml").write_text("poolin: mean\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "data.csv").write_text("a,b\n")
    for table in ("proteins", "lease"):
        (tmp_path / "stored" / f"{table}.lance").mkdir(parents=True)
    (tmp_path / "link").symlink_to("stored")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def require_one_error(done: commands.Done, code: int, words: str, *, starts: bool = False) -> None:
    """`starts`: a line may say before the error what the command has begun to do."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert words in done.stderr
    said = [line for line in done.stderr.splitlines() if not (starts and line.endswith(" ..."))]
    assert said[0].startswith("error: ")
    assert sum(line.lower().startswith(("error", "usage")) for line in said) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("code", "words", "arguments"), MISTAKES, ids=lambda value: str(value)[:60])
def test_a_mistake_is_one_error_and_leaves_nothing(
    code: int, words: str, arguments: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for heavy in ("ray", "torch", "lance", "transformers"):
        monkeypatch.setitem(sys.modules, heavy, None)  # whoever imports it now fails
    for name in [name for name in sys.modules if name.startswith(("protea_ray.store.", "protea_ray.pipeline."))]:
        if name != "protea_ray.store.object_store_errors":
            monkeypatch.delitem(sys.modules, name)
    before = listing(folder)

    require_one_error(commands.call(*arguments), code, words)

    assert listing(folder) == before


def test_every_command_has_mistakes() -> None:
    known = {name for group in COMMANDS.values() for name in group}

    assert {arguments[0] for _, _, arguments in MISTAKES} >= known


@pytest.fixture(scope="module")
def store(cluster: None, esm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("mistakes")
    (place / "p.fasta").write_text(">a\nMKTAYIAKQR\n>b\nMKVL\n")
    commands.call_json("embed", place / "p.fasta", place / "s", "--model", esm2, "--actors", 1)
    return place / "s"


@pytest.mark.parametrize(("code", "words", "arguments"), ON_TABLES, ids=lambda value: str(value)[:60])
def test_a_mistake_that_the_tables_show_is_one_error_too(
    code: int, words: str, arguments: tuple[str, ...], folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.init", lambda *_, **__: pytest.fail("Ray was started"))
    before = [listing(folder), listing(store)]

    require_one_error(commands.call(*(word.format(store=store) for word in arguments)), code, words, starts=True)

    assert [listing(folder), listing(store)] == before


@pytest.mark.parametrize(
    "arguments", [("status", "nostore"), ("reembed", "stored", "--model", "./nomodel"), ("embed", "p.fsta", "s")]
)
def test_in_a_process_of_its_own_neither_ray_nor_torch_nor_lance_is_imported(
    arguments: tuple[str, ...], folder: Path
) -> None:
    program = (
        "import sys, protea_ray.cli.main as m\n"
        f"sys.argv = ['protea-ray', *{arguments!r}]\n"
        "try: m.run()\n"
        "finally: print(sorted({'ray', 'torch', 'lance', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (1, "[]\n"), done.stderr


def test_a_store_among_the_files_of_a_directory_is_no_input(folder: Path) -> None:
    """With links: the tables are left aside, the sequences beside the store are taken."""
    from protea_ray.sequences.inputs import expand

    (folder / "stored" / "sources.lance" / "_versions").mkdir(parents=True)
    (folder / "stored" / "proteins.lance" / "_versions").mkdir()
    (folder / "stored" / "proteins.lance" / "_versions" / "1.manifest").write_bytes(b"x")
    for name in ("note.txt", "run.yaml"):
        (folder / name).unlink()
    (folder / "folder" / "data.csv").unlink()

    assert [Path(source.uri).name for source in expand(["."], store="other")] == ["p.fasta"]


def test_a_file_system_that_says_no_is_one_sentence(folder: Path) -> None:
    """An OSError that nobody foresaw; a bug keeps its traceback."""

    class Failing:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def main(self, *_: object, **__: object) -> None:
            raise self.error

    said = PermissionError(13, "Permission denied", "x.fasta")
    assert carry_out(Failing(said)) == 1
    assert carry_out(Failing(OSError(28, "No space left on device"))) == 1
    with pytest.raises(OSError, match="odd"):
        carry_out(Failing(OSError("odd")))
    with pytest.raises(KeyError):
        carry_out(Failing(KeyError("a bug")))


@pytest.mark.parametrize("place", ["", "empty", "hidden", "stored"])
def test_a_new_an_empty_and_a_half_made_store_are_places_to_write(place: str, folder: Path) -> None:
    from protea_ray.config.paths import require_new_store, require_paths

    (folder / "empty").mkdir()
    (folder / "hidden" / "lost+found").mkdir(parents=True)
    (folder / "hidden" / ".DS_Store").write_text("")
    require_new_store(place or "new")
    require_paths(["p.fasta"], place or "new")


# options that do nothing unless they are given, or one of which must be
WITHOUT_DEFAULT = (
    "--config", "--where", "--nearest", "--out", "--watch", "--attribution", "--unmatched", "--model", "--shape",
    "--fasta", "--id", "--sequence", "--gate", "--tasks", "--data",
)  # fmt: skip


def test_every_option_shows_what_holds_without_it() -> None:
    bare = []
    for name, command in vars(get_command(app))["commands"].items():
        with command.make_context(name, [], resilient_parsing=True) as context:
            for option in command.params:
                words = " ".join(option.get_help_record(context) or ())
                told = "[" in words or "unset: " in words
                if option.param_type_name == "option" and not option.is_flag and not told:
                    bare += [f"{name} {flag}" for flag in option.opts if flag not in WITHOUT_DEFAULT]
    assert bare == []
