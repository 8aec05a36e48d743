"""What all tables of results share: a title, columns, rows of text, and the sentences that one needs to read them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from html import escape
from typing import Any

from protea_ray.display import html_table, markdown_table, text_table


class ShownTable(ABC):
    """A table that prints itself in a terminal, in a notebook and as Markdown. `to_json` has its numbers."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What the table shows, on one line."""

    @abstractmethod
    def columns(self) -> list[str]:
        """Names of the columns of `rows`."""

    @abstractmethod
    def rows(self) -> list[list[str]]:
        """Rows of text under `columns`."""

    def lesser(self) -> set[str]:
        """The columns that a narrow terminal leaves out first."""
        return set()

    @abstractmethod
    def facts(self) -> list[str]:
        """What the numbers mean, and what they cannot say."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain values only, numbers in full."""

    def to_markdown(self) -> str:
        """Title, table and facts as a section of a Markdown page."""
        facts = "\n".join(f"* {fact}" for fact in self.facts())
        return f"## {self.title}\n\n{markdown_table(self.columns(), self.rows())}\n\n{facts}\n"

    def __repr__(self) -> str:
        return "\n".join([self.title, text_table(self.columns(), self.rows()), *self.facts()])

    def _repr_html_(self) -> str:
        facts = "".join(f"<p>{escape(fact)}</p>" for fact in self.facts())
        return html_table(self.title, self.columns(), self.rows()) + facts
