"""Tables and verdicts that a notebook renders, and that read well as plain text."""

from __future__ import annotations

from collections.abc import Sequence


class Markdown(str):
    """Text in Markdown: rendered in a notebook, and printed as it is in a script's output."""

    def __repr__(self) -> str:
        return str(self)

    def _repr_markdown_(self) -> str:
        """What a notebook shows; called by IPython."""
        return str(self)


def markdown_table(rows: Sequence[Sequence[str]]) -> Markdown:
    """A table of these rows, the first of which is its header."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    rule = ["-" * width for width in widths]
    lines = []
    for row in [rows[0], rule, *rows[1:]]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths)]
        lines.append("| " + " | ".join(cells) + " |")
    return Markdown("\n".join(lines))


def verdict_card(claim: str, verdict: str, reasons: Sequence[str]) -> Markdown:
    """What became of a claim, set apart from the text: the claim, the verdict, and the reasons."""
    lines = [f"> **{claim}**", ">", f"> Verdict: **{verdict}**", ">"]
    for reason in reasons:
        lines.append(f"> - {reason}")
    return Markdown("\n".join(lines))
