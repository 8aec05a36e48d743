"""Gene Ontology terms of proteins with all of their ancestors: the graph from an OBO file or a table.

Terms are propagated over `is_a` and `part_of` inside one aspect (namespace), as CAFA does (Radivojac et al. 2013,
doi:10.1038/nmeth.2340). Roots, which every protein has, are left out. Obsolete terms are unknown, alternative ids are
resolved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from protea_ray.errors import ConfigError, InputError
from protea_ray.evaluate.ontology import propagated, with_ancestors
from protea_ray.evaluate.tasks.label_columns import table_rows
from protea_ray.evaluate.tasks.labelled import raise_if, some, source_of
from protea_ray.sequences.formats import plain_name
from protea_ray.sequences.records import text_of
from protea_ray.sequences.streams import blocks, pieces, unix_lines

_TABLE, _OBO = "_ontology.tsv", ".obo"


@dataclass(frozen=True)
class TermGraph:
    """`parents` by term, roots with (); `same` gives the term of each alternative id."""

    parents: Mapping[str, tuple[str, ...]]
    same: Mapping[str, str]

    def propagated(self, terms: Iterable[str]) -> tuple[tuple[str, ...], list[str]]:
        """The terms and all their ancestors but the roots, sorted; and the terms that the graph lacks."""
        own = {term: self.same.get(term, term) for term in terms}
        unknown = [term for term, meant in own.items() if meant not in self.parents]
        return tuple(sorted(propagated(own.values(), self.parents))), unknown

    def of(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Parents of these terms and of all their ancestors, sorted; roots with ()."""
        return {term: tuple(sorted(self.parents[term])) for term in sorted(with_ancestors(names, self.parents))}


def graph_beside(path: Path) -> Path:
    """The ontology in the folder of a table of terms: STEM_ontology.tsv, STEM.obo, or the only one that is there.

    Of `mf_go.tsv` the stem is `mf`. Each may be compressed. Raises ConfigError where there is none or no single one.
    """
    stem = path.name.split(".")[0].removesuffix("_go")
    there = sorted(p for p in path.parent.iterdir() if plain_name(p.name).endswith((_TABLE, _OBO)))
    own = [p for p in there if plain_name(p.name) in (stem.lower() + _TABLE, stem.lower() + _OBO)]
    chosen = own or there
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        listed = ", ".join(p.name for p in chosen)
        raise ConfigError(
            f"{path.parent} has several ontologies, {listed}; name the right one {stem}{_OBO}", where="task"
        )
    raise ConfigError(f"{path.parent} has no ontology, so the terms of {path.name} cannot be propagated: put "
                      f"{stem}{_OBO} or {stem}{_TABLE} (columns go, parents) there", where="task")  # fmt: skip


def read_graph(path: Path) -> TermGraph:
    """The graph of an OBO file, or of a table with the columns go and parents (`;` between them).

    Raises InputError for a file without terms, and for parents that are not in it.
    """
    graph = _from_obo(path) if plain_name(path.name).endswith(_OBO) else _from_table(path)
    if not graph.parents:
        raise InputError(f"{path} holds no term")
    lost = sorted({p for above in graph.parents.values() for p in above if p not in graph.parents})
    raise_if([f"{path}: parent {term} is no term of the file; take a whole ontology" for term in lost])
    return graph


def _from_table(path: Path) -> TermGraph:
    found = table_rows(path, "go", "parents")
    raise_if(found.problems)
    return TermGraph({row.id: tuple(p for p in row.target.split(";") if p) for row in found.rows}, {})


def _from_obo(path: Path) -> TermGraph:
    """Terms that are not obsolete; a parent in another aspect is no parent, and a regulator is none."""
    terms = {tags["id"][0]: tags for tags in _stanzas(path) if "id" in tags and tags.get("is_obsolete") != ["true"]}
    aspect = {term: tags.get("namespace", [""])[0] for term, tags in terms.items()}
    parents = {
        term: tuple(dict.fromkeys(p for p in _above(tags) if aspect.get(p, aspect[term]) == aspect[term]))
        for term, tags in terms.items()
    }
    return TermGraph(parents, {other: term for term, tags in terms.items() for other in tags.get("alt_id", ())})


def _above(tags: Mapping[str, list[str]]) -> Iterator[str]:
    yield from tags.get("is_a", ())
    for relation in tags.get("relationship", ()):
        kind, _, term = relation.partition(" ")
        if kind == "part_of":
            yield term.strip()


def _stanzas(path: Path) -> Iterator[dict[str, list[str]]]:
    """Values by tag of every [Term], without comments (after `!`) and qualifiers (in braces at the end)."""
    tags: dict[str, list[str]] | None = None
    for piece in pieces(unix_lines(blocks(source_of(path, "obo"))), b"\n"):
        line = text_of(piece.data).strip()
        if line.startswith("["):
            if tags is not None:
                yield tags
            tags = {} if line == "[Term]" else None
        elif tags is not None and ":" in line:
            tag, _, value = line.partition(":")
            tags.setdefault(tag, []).append(value.split(" ! ")[0].split(" {")[0].strip())
    if tags is not None:
        yield tags


def propagate(
    graph: TermGraph, ids: Sequence[str], terms: Sequence[tuple[str, ...]]
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Each protein's terms with their ancestors but the roots, and notes on terms and proteins that are lost."""
    found = [graph.propagated(own) for own in terms]
    unknown = sorted({term for _, lost in found for term in lost})
    empty = [id for id, (kept, _) in zip(ids, found, strict=True) if not kept]
    notes = ["Terms are propagated to all of their ancestors; the roots are left out"]
    notes += [f"{len(unknown):,} terms are not in the ontology ({some(unknown)})"] if unknown else []
    notes += [f"{len(empty):,} proteins have no term below the root and are left out ({some(empty)})"] if empty else []
    return [kept for kept, _ in found], notes
