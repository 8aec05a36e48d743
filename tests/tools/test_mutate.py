"""`python -m tools.mutate`: each kind of small bug, the draw, the bugs written by hand, verdicts and counts."""

from __future__ import annotations

import json
import random
import subprocess
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tools.mutate import __main__ as command
from tools.mutate import bugs, report, trial
from tools.mutate.sites import apply, changes_code, sites
from tools.mutate.trial import Copy, Outcome, verdict

ROOT = Path(__file__).resolve().parents[2]
AIMED = ROOT / "tools" / "mutate" / "aimed.toml"


def changed(text: str, operator: str) -> list[str]:
    """The text after each edit of one kind."""
    return [apply(text, edit) for edit in sites(text) if edit.operator == operator]


@pytest.mark.parametrize(
    ("operator", "text", "expected"),
    [
        ("comparison", "a < b <= c", ["a <= b <= c", "a < b < c"]),
        ("comparison", "a == b", ["a != b"]),
        ("comparison", "x is None", ["x is not None"]),
        ("comparison", "x  is  not  None", ["x  is  None"]),
        ("comparison", "x not in y", ["x in y"]),
        ("and/or", "a and b and (c or d)", ["a or b and (c or d)", "a and b or (c or d)", "a and b and (c and d)"]),
        ("not removed", "not a.b", ["a.b"]),
        ("condition negated", "x = 1 if ready() else y", ["x = 1 if not ready() else y"]),
        ("condition negated", "if a > 1: b = c", []),
        ("arithmetic", "a + b * c", ["a - b * c", "a + b / c"]),
        ("arithmetic", "a // b - c", ["a / b - c", "a // b + c"]),
        ("arithmetic", "'a' + b", []),
        ("arithmetic", "a += b", ["a -= b"]),
        ("integer constant", "x = 7", ["x = 6", "x = 8"]),
        ("integer constant", "def f(a: A[3] = 4) -> A[5]: x", [f"def f(a: A[3] = {n}) -> A[5]: x" for n in (3, 5)]),
        ("boolean constant", "f(x, True)", ["f(x, False)"]),
        ("other function", "min(a, b)", ["max(a, b)"]),
        ("other function", "x.startswith(y)", ["x.endswith(y)"]),
        ("sorted removed", "sorted(a, key=b)", ["list(a)"]),
        ("arguments exchanged", "f(a, b, c)", ["f(b, a, c)"]),
        ("arguments exchanged", "f(a, a) + min(a, b) + np.maximum(a, b)", []),
        ("arguments exchanged", "f(*a, b)", []),
        ("argument left out", "f(a, b=1)", ["f(a)"]),
        ("argument left out", "f(b=1, c=2)", ["f(c=2)", "f(b=1)"]),
        ("argument left out", "f(**a)", []),
        ("argument left out", "def g(a, b=1): return a\ng(1, 2)", ["def g(a, b=1): return a\ng(1)"]),
        ("string key", "d['a'] = e.get('b')", ["d['a_'] = e.get('b')", "d['a'] = e.get('b_')"]),
        ("string key", "x = {'a': 1}", ["x = {'a_': 1}"]),
        ("slice", "x[a:, :b]", ["x[(a) + 1:, :b]", "x[a:, :(b) - 1]"]),
        ("except narrowed", "try: f()\nexcept (A, B): g()", ["try: f()\nexcept A: g()"]),
        ("except broadened", "try: f()\nexcept A: g()", ["try: f()\nexcept Exception: g()"]),
        ("except broadened", "try: f()\nexcept Exception: g()", []),
        ("statement left out", "f()\nx = 1\nx.y = 2", ["pass\nx = 1\nx.y = 2", "f()\nx = 1\npass"]),
        ("statement left out", "if a: raise E(1 + 2)", ["if a: pass"]),
        ("returned", "def f() -> list[int]: return g()", ["def f() -> list[int]: return []"]),
        ("returned", "def f() -> bool: return a < b", ["def f() -> bool: return not (a < b)"]),
        ("returned", "def f() -> int | None: return g()", ["def f() -> int | None: return None"]),
    ],
)
def test_each_kind_of_bug(operator: str, text: str, expected: list[str]) -> None:
    assert changed(text, operator) == expected


@pytest.mark.parametrize(
    "text",
    [
        '"""Text 1 < 2."""', "def f():\n    'Docstring.'", "from a import b", "import a", "assert a < 1",
        "log.warning('%s', 1)", "print(1 + 2)", "x: int", "raise_ = f'{1 + 2}'",
        "if TYPE_CHECKING:\n    x = 1", "class A:\n    x: Literal[3]",
    ],
)  # fmt: skip
def test_what_people_read_is_left_alone(text: str) -> None:
    assert sites(text) == []


def test_places_are_characters_and_not_bytes() -> None:
    assert changed("x = 'é€', a < b", "comparison") == ["x = 'é€', a <= b"]


def test_every_edit_of_this_package_can_be_made() -> None:
    """Drawn from all places: each stands where the tree says, and most leave another program that can be parsed."""
    files = sorted((ROOT / "protea_ray").rglob("*.py"))
    drawn = random.Random(5).sample(files, 6)
    edits = [(text, edit) for text in (file.read_text(encoding="utf-8") for file in drawn) for edit in sites(text)]
    sample = random.Random(6).sample(edits, 40)
    assert all(0 <= edit.start < edit.end <= len(text) for text, edit in edits)
    assert sum(changes_code(text, edit) for text, edit in sample) > 37


def test_a_draw_is_the_same_for_the_same_seed_and_no_bug_comes_twice() -> None:
    files = ["protea_ray/plan/units.py", "protea_ray/plan/cost.py"]
    one, again, other = (bugs.drawn(ROOT, files, 20, seed, {}) for seed in (3, 3, 4))
    assert one == again != other
    assert len({bug.id for bug in one}) == 20
    assert {bug.file for bug in one} == set(files)
    for bug in one:
        text = (ROOT / bug.file).read_text(encoding="utf-8")
        assert bug.made_in(text) != text
        assert bug.old != bug.new
    assert one[0].tests == ("tests/plan",)


def test_single_bugs_are_chosen_by_their_ids(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--aimed", str(AIMED), "--drawn", "5", "--files", "protea_ray/plan/*.py", "--list"]
    assert command.main(asked) == 0
    every = capsys.readouterr().out.splitlines()
    assert len(every) == len(entries()) + 5
    assert command.main([*asked, "--only", every[0].split()[0], every[-1].split()[0]]) == 0
    assert capsys.readouterr().out.splitlines() == [every[0], every[-1]]


def test_an_id_stays_when_lines_are_put_before(tmp_path: Path) -> None:
    def ids(text: str) -> list[str]:
        (tmp_path / "a.py").write_text(text)
        return sorted(bug.id for bug in bugs.drawn(tmp_path, ["a.py"], 99, 0, {"a.py": ["t"]}))

    text = "def f(x):\n    y = x < 1\n    return y + 1\n"
    assert ids(text) == ids("import os\n\n\n" + text)
    assert ids(text) != ids(text.replace("y + 1", "y + 2"))


# the bugs written by hand


def entries() -> list[dict[str, Any]]:
    return tomllib.loads(AIMED.read_text(encoding="utf-8"))["bug"]


def test_the_old_text_of_every_bug_occurs_once_and_all_tests_exist() -> None:
    """Where this fails, code has moved: mend `old` in tools/mutate/aimed.toml."""
    stale = [(e["file"], e["old"]) for e in entries() if bugs.occurrences(ROOT, e) != 1]
    assert not stale
    made = bugs.aimed(ROOT, AIMED, bugs.read_tests(AIMED.with_name("tests.toml")))
    for bug in made:
        compile(bug.made_in((ROOT / bug.file).read_text(encoding="utf-8")), bug.file, "exec")
        assert bug.meaning
        assert all((ROOT / test).exists() for test in bug.tests), bug.tests
    assert len({bug.id for bug in made}) == len(made) >= 40


def test_every_file_has_tests_that_exist() -> None:
    table = bugs.read_tests(AIMED.with_name("tests.toml"))
    assert all((ROOT / test).exists() for tests in table.values() for test in tests)
    known = [str(path.relative_to(ROOT)) for path in (ROOT / "protea_ray").rglob("*.py")]
    assert not [entry for entry in table if not any(file.startswith(entry) for file in known)]
    assert bugs.tests_of("protea_ray/plan/cost.py", {"protea_ray/": ["a"], "protea_ray/plan/c": ["b"]}) == ["b"]
    assert bugs.tests_of("protea_ray/plan/cost.py", {}) == ["tests/plan"]


def test_a_bug_whose_text_is_gone_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    (tmp_path / "aimed.toml").write_text(
        '[[bug]]\nfile = "a.py"\nold = "x = 1"\nnew = ""\nmeaning = ""\n'
        '[[bug]]\nfile = "b.py"\nold = "y"\nnew = ""\nmeaning = ""\n'
    )
    with pytest.raises(ValueError, match=r"a.py: 'x = 1' occurs 2 times\nb.py: 'y' occurs 0 times"):
        bugs.aimed(tmp_path, tmp_path / "aimed.toml", {})


# trying them


@pytest.mark.parametrize(
    ("code", "expected"),
    [(0, trial.MISSED), (1, trial.NOTICED), (2, trial.NO_IMPORT), (4, trial.NO_IMPORT), (5, trial.UNCLEAR),
     (None, trial.TIME_OUT)],
)  # fmt: skip
def test_verdicts(code: int | None, expected: str) -> None:
    assert verdict(Outcome(code, "", 1.0)) == expected


class Scripted(Copy):
    """A copy whose test runs end as the test says; it keeps the text that each run saw."""

    def __init__(self, root: Path, *codes: int | None) -> None:
        super().__init__(root)
        self.codes, self.seen, self.limits = list(codes), [], []

    def run(self, tests: Any, limit: float | None = None) -> Outcome:
        self.seen.append((self.root / "a.py").read_text())
        self.limits.append(limit)
        return Outcome(self.codes.pop(0), "", 1.0)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([1], trial.NOTICED), ([0], trial.MISSED), ([None, 0], trial.TIME_OUT), ([None, None], trial.UNCLEAR),
     ([None, 1], trial.UNCLEAR)],
)  # fmt: skip
def test_a_time_out_counts_only_if_the_tests_pass_without_the_bug(
    codes: list[int | None], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "a.py").write_text("x = a < b\n")
    (bug,) = bugs.drawn(tmp_path, ["a.py"], 1, 0, {"a.py": ["t"]})
    copy = Scripted(tmp_path, *codes)
    assert copy.try_bug(bug, 30.0)[0] == expected
    assert copy.seen == ["x = a <= b\n", "x = a < b\n"][: len(codes)]
    assert set(copy.limits) == {120.0}
    assert (tmp_path / "a.py").read_text() == "x = a < b\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A git tree with a package, a test of half of it, and a file that git ignores."""
    tree = tmp_path / "tree"
    (tree / "protea_ray").mkdir(parents=True)
    (tree / "protea_ray" / "__init__.py").write_text(
        "def f(a, b):\n    return a < b\n\n\ndef g(a):\n    return a + 1\n"
    )
    (tree / "test_f.py").write_text(
        "from protea_ray import f\n\ndef test_f():\n    assert f(1, 2)\n    assert not f(1, 1)\n"
    )
    (tree / ".gitignore").write_text("ignored\n")
    (tree / "ignored").write_text("")
    subprocess.run(["git", "init", "-q"], cwd=tree, check=True)
    return tree


@pytest.mark.slow
def test_bugs_are_made_in_a_copy_and_tried_once(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command: one noticed bug, one that nobody sees, and a second run that tries none of them again."""
    aimed, results, figures = tmp_path / "aimed.toml", tmp_path / "results.jsonl", tmp_path / "figures.json"
    head = '[[bug]]\nfile = "protea_ray/__init__.py"\ntests = ["test_f.py"]\n'
    three = (("a < b", "a <= b", "m"), ("a + 1", "a - 1", "n"), ("def f(", "def h(", "o"))
    aimed.write_text("".join(f'{head}old = "{old}"\nnew = "{new}"\nmeaning = "{why}"\n' for old, new, why in three))
    monkeypatch.setattr(command, "ROOT", tree)
    before = (tree / "protea_ray" / "__init__.py").read_text()
    asked = ["--aimed", str(aimed), "--results", str(results), "--json", str(figures)]

    assert command.main(asked) == 1
    first = capsys.readouterr()
    assert (tree / "protea_ray" / "__init__.py").read_text() == before
    assert {path.name for path in tree.rglob("*")} & {"__pycache__"} == set()
    assert first.out.startswith("1 of 2 noticed (50 %); 1 noticed, 1 NOT NOTICED, 1 did not import;")
    assert json.loads(figures.read_text())["counts"][trial.MISSED] == 1
    assert "test_f.py::test_f" in first.out

    monkeypatch.setattr(command.Copy, "of", classmethod(lambda *_: pytest.fail("a bug was tried again")))
    assert command.main(asked) == 1
    assert capsys.readouterr().out == first.out

    ids = {
        result.meaning: result.id for result in (report.Result(**r) for r in json.loads(figures.read_text())["bugs"])
    }
    monkeypatch.setattr(report, "read_equivalent", lambda file: {ids["n"]: "nobody calls g"})
    assert command.main(asked) == 0
    assert "1 of 1 noticed (100 %)" in (said := capsys.readouterr().out)
    assert "nobody calls g" in said

    monkeypatch.undo()
    (tree / "test_f.py").write_text("def test_g(): pass\n")  # other tests: all bugs are tried anew
    monkeypatch.setattr(command, "ROOT", tree)
    assert command.main([*asked, "--list"]) == 0
    assert len(report.read(results)) == 3
    assert not {(bug.id, report.state(tree, bug)) for bug in bugs.aimed(tree, aimed, {})} & report.read(results).keys()


def test_where_tests_fail_without_a_bug_nothing_is_known_of_it(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "test_f.py").write_text("def test_f(): assert False\n")
    monkeypatch.setattr(command, "ROOT", tree)
    monkeypatch.setattr(command, "read_tests", lambda file: {"protea_ray/": ["test_f.py"]})
    asked = ["--drawn", "2", "--results", str(tmp_path / "r"), "--json", str(tmp_path / "j")]
    assert command.main(asked) == 1
    assert capsys.readouterr().out.startswith("0 of 0 noticed; 2 unclear")
    firsts = {bug["first"] for bug in json.loads((tmp_path / "j").read_text())["bugs"]}
    assert firsts == {"without any bug: test_f.py::test_f"}
    assert not (tmp_path / "r").exists()


def test_a_test_that_never_ends_is_killed(tree: Path, tmp_path: Path) -> None:
    (tree / "test_f.py").write_text("import time\n\ndef test_f():\n    time.sleep(600)\n")
    outcome = Copy.of(tree, tmp_path / "copy").run(["test_f.py"], limit=3)
    assert (outcome.code, verdict(outcome)) == (None, trial.TIME_OUT)
    assert outcome.seconds < 300


@pytest.mark.parametrize("fails", [False, True])
def test_stopping_ends_the_tests_that_run_and_lets_none_begin(fails: bool, tree: Path, tmp_path: Path) -> None:
    """Also where the code under test takes SIGTERM for Ctrl-C or an error, so that its test fails."""
    handler = "def stop(*_):\n    raise OSError\n\nsignal.signal(signal.SIGTERM, stop)\n" if fails else ""
    test = "def test_f():\n    pathlib.Path('began').touch()\n    time.sleep(600)\n"
    (tree / "test_f.py").write_text(f"import pathlib, signal, time\n\n{handler}\n{test}")
    copy = Copy.of(tree, tmp_path / "copy")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(copy.run, ["test_f.py"])
        while not (copy.root / "began").exists():
            time.sleep(0.05)
        copy.stop()
        assert verdict(running.result()) == trial.UNCLEAR
    assert copy.run(["test_f.py"]).first == "stopped"


def test_a_result_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "results.jsonl"
    result = report.Result("i", "f", 1, "k", "o", "n", "", ("t",), trial.MISSED, "", 1.0, "s")
    report.append(file, result)
    with file.open("a") as out:
        out.write('{"id": "j", "fi')
    assert report.read(file) == {("i", "s"): result}
