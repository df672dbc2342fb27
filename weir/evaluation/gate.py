"""Whether one index version may take another's place, by two runs over the same questions. Pure.

Refused is what is significantly worse (recall@10, one-sided randomization test at 5 %), what shows somebody what they
must not see, and what cannot be told: runs of different questions, of too few, or of a Weir that was not whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from schemas.events import Difference, Evaluation, QuestionResult, Verdict
from weir.evaluation.metrics import FAILED, FIGURES, MAIN
from weir.evaluation.statistics import paired

ALPHA = 0.05
FEWEST = 20
"""Questions with expected passages below which the test finds next to nothing, so that passing would say nothing."""
DEGRADED = "Found by "
"""How the notice begins of a search that one of the stores did not take part in."""
NAMED = 5
"""Questions that a reason names."""


def differences(live: Evaluation, candidate: Evaluation) -> list[Difference]:
    """Candidate less live, figure by figure, over the questions to which a figure applies in both."""
    before = {q.id: q.figures for q in live.questions}
    rng = np.random.default_rng(candidate.seed)
    found = []
    for name in FIGURES:
        if name == "similarity" and live.ruler != candidate.ruler:
            continue
        values = [q.figures[name] - before[q.id][name] for q in candidate.questions
                  if name in q.figures and name in before.get(q.id, {})]
        if values:
            p = paired(values, rng)
            found.append(Difference(name=name, value=p.value, low=p.low, high=p.high, p_worse=p.p_worse,
                                    count=len(values)))
    return found


def gate(live: Evaluation, candidate: Evaluation) -> Verdict:
    """Whether the candidate's version may answer in place of the live one's, and why not."""
    reasons = _incomparable(live, candidate)
    if reasons:
        return Verdict(passed=False, reasons=reasons, remarks=[])
    reasons += [reason for run, name in ((live, "live"), (candidate, "candidate")) for reason in _not_whole(run, name)]
    by_name = {d.name: d for d in differences(live, candidate)}
    main = by_name.get(MAIN)
    if main is None or main.count < FEWEST:
        reasons.append(f"only {main.count if main else 0} questions say where their answer stands; with fewer than "
                       f"{FEWEST} a worse version would go unnoticed: add questions to {candidate.set!r}.")
    elif not any(q.figures.get(MAIN) for q in live.questions):
        reasons.append(f"the live version finds nothing of what {candidate.set!r} expects, so that there is nothing to "
                       f"lose: are the documents of the workspace {live.workspace!r} there?")
    elif main.value < 0 and main.p_worse < ALPHA:
        reasons.append(f"{_told(main)}: significantly worse (p = {main.p_worse:.3g}).")
    shown = [q.id for q in candidate.questions if q.figures.get("withheld") == 0.0]
    if shown:
        reasons.append(f"{_named(shown)} showed a document that the person must not see.")
    remarks = [f"{_told(d)}: significantly worse (p = {d.p_worse:.3g}); the gate does not decide by it."
               for name, d in by_name.items() if name != MAIN and d.value < 0 and d.p_worse < ALPHA]
    if main is not None:
        # That none of n questions was lost leaves a loss of 3/n possible (Hanley and Lippman-Hand, JAMA 249(13), 1983).
        possible = max(-main.low, 3 / max(main.count, 1))
        remarks.insert(0, f"{_told(main)} over {main.count} questions: a loss of more than {min(possible, 1.0):.3f} is "
                       "unlikely.")
    return Verdict(passed=not reasons, reasons=reasons, remarks=remarks)


def _incomparable(live: Evaluation, candidate: Evaluation) -> list[str]:
    """Why the two runs say nothing about each other."""
    if (live.set, live.set_change) != (candidate.set, candidate.set_change):
        return [f"the runs asked different questions: {live.set} version {live.set_version} and {candidate.set} "
                f"version {candidate.set_version}. Run both again."]
    if live.index != candidate.index:
        return [f"the runs are about different indexes, {live.index} and {candidate.index}."]
    if {q.id for q in live.questions} != {q.id for q in candidate.questions}:
        return ["one of the runs is incomplete: run both again."]
    if (live.model, live.prompt) != (candidate.model, candidate.prompt):
        return ["the runs were answered by different language models: run both again."]
    return []


def _not_whole(run: Evaluation, name: str) -> list[str]:
    failed = [q.id for q in run.questions if q.outcome == FAILED]
    degraded = [q.id for q in run.questions if any(n.startswith(DEGRADED) for n in q.notices)]
    return [*([f"in the {name} run {_named(failed)} failed: run it again."] if failed else []),
            *([f"in the {name} run {_named(degraded)} went without one of the stores, so it measured something else: "
               "run it again."] if degraded else [])]


def _told(difference: Difference) -> str:
    return f"{difference.name} {difference.value:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"


def _named(questions: Sequence[str]) -> str:
    more = len(questions) - NAMED
    return ", ".join(questions[:NAMED]) + (f" and {more} more" if more > 0 else "")


def worst_first(questions: Sequence[QuestionResult], live: Sequence[QuestionResult] = ()) -> list[QuestionResult]:
    """Failed ones first; then, beside a live run, those that lost most; then by quality, the worst first."""
    before = {q.id: q.figures.get("quality") for q in live}

    def order(q: QuestionResult) -> tuple[bool, float, float, str]:
        quality = q.figures.get("quality")
        was = before.get(q.id)
        lost = quality - was if quality is not None and was is not None else 0.0
        return q.outcome != FAILED, min(0.0, lost), 2.0 if quality is None else quality, q.id

    return sorted(questions, key=order)
