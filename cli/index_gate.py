"""Whether a version may answer, by a golden set: what `weir index gate` and `weir index cutover` ask.

The set is asked of the live version and of the other one, question by question in turn; both runs are kept, so that
`weir eval show` and the page `/evaluations` tell afterwards why somebody went over.
"""

from __future__ import annotations

from dataclasses import asdict

from cli.evaluate import measure
from schemas.events import Evaluation, IndexVersion
from weir.errors import BadRequest, Conflict, NotFound
from weir.evaluation.metrics import MAIN
from weir.index.versions import Gate, Tell, Verdict
from weir.settings import Settings

SET = "sample"


async def compared(settings: Settings, golden: str, index: str, live: IndexVersion, version: IndexVersion
                   ) -> tuple[Evaluation, Evaluation]:
    """The runs of both versions, the second with the gate's verdict. No model judges: the gate does not decide by it.

    Raises:
        NotFound: there is no such set.
        BadRequest: the set is empty.
        Conflict: another version answers now than the one that was to be compared.
        Unavailable: a server does not answer.
    """
    made = await measure(settings, golden, index, version.name, judge=False)
    if [e.index_version for e in made] != [live.name, version.name]:
        raise Conflict(f"{live.name} does not answer any more: somebody has changed the index meanwhile. Look at "
                       "`weir index list`.")
    return made[0], made[1]


def by_golden_set(settings: Settings, golden: str, index: str, tell: Tell) -> Gate:
    """A gate that passes what does not find less. Where there is nothing to measure with, it refuses and says so."""

    async def ask(live: IndexVersion, version: IndexVersion) -> Verdict:
        try:
            before, run = await compared(settings, golden, index, live, version)
        except (NotFound, BadRequest) as e:
            return Verdict(False, f"nobody can tell whether {version.name} finds less than {live.name}: {e.message}",
                           {"set": golden})
        tell(f"measured with {run.set} version {run.set_version}; `weir eval show {run.run[:8]}` shows all of it")
        assert run.verdict is not None  # a run beside another one has one
        said = run.verdict.reasons or run.verdict.remarks
        return Verdict(run.verdict.passed, " ".join(said), {
            "set": run.set, "set_version": run.set_version, "set_change": run.set_change,
            "runs": {live.name: before.run, version.name: run.run},
            "differences": [asdict(d) for d in run.differences if d.name == MAIN]})

    return ask
