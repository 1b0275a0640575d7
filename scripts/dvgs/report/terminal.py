"""The result in a few plain lines, for the terminal."""

from typing import Any

from dvgs.methods.registry import label_of
from dvgs.report.facts import interval, number, target_facts
from dvgs.report.results import Results

LINES = 10  # at most


def summarise(results: Results) -> list[str]:
    """The result in at most LINES lines of plain text."""
    lines = [
        f"{results.compendium}: {results.n_input:,} profiles in, {len(results.ledger):,} left out, "
        f"{len(results.apc):,} valued; {len(results.replicate_ledger):,} replicates could not be used"
    ]
    for target in results.targets:
        facts = target_facts(target, results.similarity)
        said = (_kept_line(facts), _agreement_line(facts), _found_line(facts))
        lines += [f"{target.name}: {text}" for text in said if text]
    if len(lines) <= LINES:
        return lines
    return [*lines[: LINES - 1], "the other targets are in the report"]


def _kept_line(facts: dict[str, Any]) -> str:
    return (
        f"{facts['n_kept']:,} of {facts['n_in']:,} profiles kept, {facts['n_dropped']:,} dropped "
        f"(cutoff quantile {facts['quantile']:g}); test R² {number(facts['r2_before'])} → {number(facts['r2_after'])}"
    )


def _agreement_line(facts: dict[str, Any]) -> str:
    found = facts["agreement"]
    if not found:
        return "no profile has an APC to compare with"
    return f"Pearson of DVGS ({facts['similarity']}) and APC {interval(found, 'pearson')}, n = {found['n']:,.0f}"


def _found_line(facts: dict[str, Any]) -> str:
    """How well planted noise was found; "" where none was planted."""
    found = [f"{label_of(method)} {number(row['auroc'])}" for method, row in facts["found"].items()]
    return f"planted noise found with AUROC {found[0]} (best similarity), {', '.join(found[1:])}" if found else ""
