"""A thousand steps at random, many at a time: ask, change, delete, change access. Whatever the order, no answer that is
given again is stale, none shows what its reader may not read, and a search that is used again misses nothing.

What an answer must know is fixed by what was seen before it was asked for: an event that the access view shows, a
version that both stores have.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest

from schemas import keys, topics
from schemas.events import DocumentPublished, Done, Failed, Person, Reuse, Workspace
from tests.kit.answers import Asker
from tests.kit.pipeline import ANSWERING, INGEST, PATIENCE, Pipeline, pipeline

pytestmark = [pytest.mark.services, pytest.mark.timeout(600)]

STEPS, LANES, SEED = 1000, 20, 5
THINGS = ("valve", "hatch", "lantern")
"""Each a document of every lane; its versions name another tool."""
TOOLS = ("lever", "crank", "pedal", "button", "handle", "wheel", "switch", "rope")
PEOPLE = (Person(subject="reader", groups=["everyone"]), Person(subject="member", groups=["board"]))
WORDINGS = ("What opens the {}?", "What opens the {} then?", "What does open the {}?")


@dataclass
class State:
    """What the newest event said of a document, and since when that could be known."""

    version: int
    groups: tuple[str, ...] | None
    """None: deleted."""
    text: str = ""
    searchable: bool = False
    """Whether both stores were seen to have it, and nothing of another version."""


@dataclass
class Lane:
    """A workspace of its own, in which one step follows the other; a change may run beside a question."""

    name: str
    made: Pipeline
    asker: Asker
    random: random.Random
    steps: int
    states: dict[str, State] = field(default_factory=dict)
    begun: Counter[str] = field(default_factory=Counter)
    """Changes of each document that have begun."""
    over: Counter[str] = field(default_factory=Counter)
    """Those that the access view shows."""
    seen: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        for thing in THINGS:
            await self.publish(thing)
        while self.steps > 0:
            thing = self.random.choice(THINGS)
            choice = self.random.random()
            if choice < 0.6:
                await self.ask(thing)
            elif choice < 0.8:
                await self.settled(thing)
                person = self.random.choice(PEOPLE)
                for _ in range(3):
                    await self.ask(thing, person)
            elif self.random.random() < 0.5:
                await self.change(thing)
            else:
                await asyncio.gather(self.change(thing), self.ask(thing))

    async def change(self, thing: str) -> None:
        self.steps -= 1
        now, choice = self.states[thing], self.random.random()
        if now.groups is None or choice < 0.5:
            await self.publish(thing)
        elif choice < 0.65:
            await self.put(thing, None)
        else:
            groups = ["board"] if "everyone" in now.groups else ["everyone", "board"]
            await self.publish(thing, groups, now.text)

    async def publish(self, thing: str, groups: list[str] | None = None, text: str = "") -> None:
        tool = self.random.choice([t for t in TOOLS if t not in (self.states[thing].text if self.states else "")]
                                  if thing in self.states else TOOLS)
        await self.put(thing, DocumentPublished(
            workspace=self.name, document=thing, media_type="text/plain", groups=groups or ["everyone", "board"],
            content=(text or f"The {tool} opens the {thing}. It stands beside the stairs.").encode()))

    async def put(self, thing: str, event: DocumentPublished | None) -> None:
        """Publishes, and returns when the access view shows it."""
        self.begun[thing] += 1
        sent = await self.made.producer.send(
            self.made.topic(topics.DOCUMENTS), keys.document_key(self.name, thing), event)
        for _ in range(int(PATIENCE / 0.01)):
            view = await self.made.views.get(self.name, thing)
            if view is not None and view.version >= sent.offset:
                break
            await asyncio.sleep(0.01)
        self.over[thing] += 1
        self.states[thing] = State(sent.offset, tuple(event.groups) if event is not None else None,
                                   event.content.decode() if event is not None else "")

    async def settled(self, thing: str) -> None:
        """Waits until both stores have what is published and nothing of a version before."""
        state = self.states[thing]
        for _ in range(int(PATIENCE / 0.05)):
            held = await self.made.manifests(thing, self.name)
            if all(m.version == state.version and not m.pending and not m.stale for m in held):
                state.searchable = state.groups is not None
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{thing} is not in the stores")

    async def ask(self, thing: str, person: Person | None = None) -> None:
        self.steps -= 1
        person = person or self.random.choice(PEOPLE)
        before, over = dict(self.states), self.over.copy()
        answer = await self.asker.ask(
            self.random.choice(WORDINGS).format(thing), person=person, workspace=self.name, limit=5)
        ended = (await self.asker.ended(answer)).terminal
        if isinstance(ended, Failed):
            # On a machine that is so busy that the views lag, it refuses.
            assert ended.retriable, ended
            self.seen["refused"] += 1
            return
        assert isinstance(ended, Done), ended
        self.seen[ended.outcome.value] += 1
        if ended.earlier is not None:
            self.seen["exact" if ended.earlier.similarity == 1 else "semantic"] += 1
        self.seen["search used again"] += "cache" in ended.timings and "keyword" not in ended.timings
        self.check(thing, person, before, {t for t in THINGS if self.begun[t] == over[t]}, ended)

    def check(self, thing: str, person: Person, before: dict[str, State], still: set[str], ended: Done) -> None:
        """Against what was seen before it was asked for.

        Args:
            still: what did not change from before until the end.
        """
        for source in ended.sources:
            known = before[source.document]
            if source.document in still:
                assert known.groups is not None, f"{source.document} was deleted"
                assert set(known.groups) & {"everyone", *person.groups}, f"{person.subject} may not read {source}"
            fresh = source.version >= known.version
            assert fresh or (ended.earlier is None and source.being_replaced), (
                f"stale: version {source.version} of {source.document}, which was at {known.version}; {ended}")
        known = before[thing]
        readable = known.groups is not None and set(known.groups) & {"everyone", *person.groups}
        if known.searchable and readable and thing in still:
            versions = {s.version for s in ended.sources if s.document == thing}
            assert versions == {known.version}, (
                f"a search missed version {known.version} of {thing}: {versions}, {ended.timings}")
            assert known.text.split(". ")[0] in ended.text, f"{thing}: {ended.text!r} is not from {known.text!r}"


async def outages(made: Pipeline) -> None:
    """Now and then nobody reads documents: the access view knows what neither stores nor evictions do."""
    while True:
        await asyncio.sleep(4)
        await made.stop("streams.documents")
        await asyncio.sleep(2)
        made.start("streams.documents")


async def test_a_thousand_steps_never_give_a_stale_or_forbidden_answer() -> None:
    async with pipeline() as made, Asker(made.settings, made.producer) as asker:
        lanes = [Lane(f"lane-{n}", made, asker, random.Random(SEED * 100 + n), STEPS // LANES) for n in range(LANES)]
        for lane in lanes:
            await made.producer.send(made.topic(topics.WORKSPACES), lane.name, Workspace(
                workspace=lane.name, changed_at=0, changed_by="ann",
                reuse=Reuse(kinds=["what"], semantic=True, similarity=0.8)))
        made.start(*INGEST, *ANSWERING)
        await made.searchable("first", (await made.publish("first", "Everything runs.")).offset)
        lagging = asyncio.create_task(outages(made))
        try:
            async with asyncio.TaskGroup() as group:
                for lane in lanes:
                    group.create_task(lane.run())
        finally:
            lagging.cancel()
            await asyncio.gather(lagging, return_exceptions=True)
        seen = sum((lane.seen for lane in lanes), Counter[str]())
        print(dict(seen))
        # Otherwise nothing was tested.
        assert seen["exact"] >= 30 and seen["search used again"] >= 30, seen
