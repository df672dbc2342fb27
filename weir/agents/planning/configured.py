"""The planners that the settings name: rules always, and the language model where there is one."""

from __future__ import annotations

from weir.agents.planning.plan import Planner
from weir.agents.planning.rules import NAME, Rules
from weir.errors import SettingsError
from weir.settings import Settings


class NoSuchPlanner(SettingsError):
    """A task pinned a planner that this worker does not have; one that has it may take the task later."""

    code = "no_such_planner"


class Planners:
    """Planners by the name that a task pins."""

    def __init__(self, planners: dict[str, Planner]) -> None:
        self._planners = planners

    def __call__(self, name: str) -> Planner:
        """
        Raises:
            NoSuchPlanner: the settings name no such planner.
        """
        try:
            return self._planners[name]
        except KeyError:
            raise NoSuchPlanner(f"the task was begun with the planner {name!r}, and this Weir has "
                                f"{' and '.join(self._planners)}: set WEIR_MODEL back, or ask for it again") from None

    async def close(self) -> None:
        for planner in self._planners.values():
            await planner.close()


def planner_from(settings: Settings) -> Planners:
    """
    Raises:
        SettingsError: `WEIR_MODEL` is not one of the known forms, or its key cannot be read.
    """
    planners: dict[str, Planner] = {NAME: Rules(settings.addresses)}
    if settings.model != "extractive":
        # The clients take half a second to import; a Weir without a model never needs them.
        from weir.agents.planning.model import model_planner

        planners[settings.model] = model_planner(settings)
    return Planners(planners)
