"""Which questions may be answered again, and with which earlier answer."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from prometheus_client import REGISTRY

from schemas.events import Citation, Done, Person, PlainFilter, QuestionAsked, Reuse, Source, Turn, TurnOutcome
from weir.caches import ANSWERS, EVERYWHERE, HOUR, VECTORS
from weir.caches.answers import AnswerCache, Hit
from weir.caches.figures import Figures
from weir.caches.keys import answer_key
from weir.caches.kinds import KINDS, kind_of, names, plain, unfit
from weir.caches.matching import answers, same_passages
from weir.models.extractive import Extractive
from weir.models.protocol import Usage, Vectors
from weir.retrieval.pipeline import Controls, Found, Retrieved
from weir.retrieval.questions import Difficulty, Reading
from weir.retrieval.recipe import Recipe
from weir.retrieval.remembered import VectorCache
from weir.settings import Settings

NOW = 1_800_000_000_000
READER = Person(subject="reader", groups=["staff"])
ALL = Reuse(kinds=list(KINDS), semantic=True, similarity=0.8)


@pytest.mark.parametrize(("question", "reason"), [
    ("How do I carry leave over?", None), ("What's the rule for leave?", None), ("May I bring a dog?", None),
    ("How do I carry 5 days over?", "number"), ("How do I carry five days over?", "number"),
    ("What is the third step?", "number"), ("What does ½ a day mean?", "number"),
    ("What happens in March?", "date"), ("What happened yesterday?", "date"), ("Who is on duty next week?", "date"),
    ("What is closed in may?", "date"), ("What is the current price?", "date"),
    ("What does Thornlea want?", "name"), ("How do I use calibrateProbe?", "name"), ("What is the VAT rule?", "name"),
    ("What is “notice”?", "name"), ("What is a.b for?", "name"), ("How do I mail ann@example.org?", "name"),
    ("What does 三 mean?", "number"), ("What does 猫 mean?", "name"),
    ("Leave, please", "kind"), ("Wie trage ich Urlaub ein?", "name"), ("wie trage ich ein?", "kind")])
def test_what_makes_a_question_one_s_own(question: str, reason: str | None) -> None:
    assert unfit(question, KINDS) == reason


def test_only_allowed_kinds_are_answered_again() -> None:
    assert unfit("How do I carry leave over?", ["what"]) == "kind"
    assert unfit("What carries leave over?", ["what"]) is None
    kinds = [kind_of(q) for q in ("How many are there?", "How is it done?", "Tell me how", "is it so", "when is it")]
    assert kinds == ["how-much", "how", "request", "whether", "when"]


def test_a_name_in_small_letters_is_known_by_the_passages() -> None:
    texts = ["The notice of Thornlea is short. Thornlea pays.", "Notice is given in writing."]
    assert names("what notice does thornlea want", texts) == {"thornlea"}
    assert names("what notice is given", texts) == set()


def source(text: str, number: int = 1, document: str = "leave", version: int = 1) -> Source:
    return Source(number=number, chunk=f"{document}@{version}", document=document, version=version, title="", text=text,
                  heading_path=[], section=0, start=0, end=len(text), score=1.0)


FORM = "You carry unused leave over with the form. Your manager signs it."
CITED = [Citation(source=1, start=0, end=42, quote_start=0, quote_end=42)]
ASKED = "How do I carry unused leave over?"


@pytest.mark.parametrize(("question", "same"), [
    ("How can I carry my unused leave over?", True), ("how does one carry over leave?", True),
    ("How do I not carry unused leave over?", False), ("Where do I carry unused leave over?", False),
    ("How do I sell unused leave?", False), ("How does a manager sign it?", False)],
    ids=["other words", "fewer words", "turned", "another kind", "another word", "another sentence"])
def test_other_words_for_the_same(question: str, same: bool) -> None:
    assert answers(question, [source(FORM)], ASKED, [source(FORM)], CITED) is same


def test_passages_that_nobody_had_read_then_end_it() -> None:
    new = source("Unused leave is carried over by mail.", 1, "mail", 7)
    assert not answers("How can I carry unused leave over?", [new, replace(source(FORM), number=2)], ASKED,
                       [source(FORM)], CITED)
    assert same_passages([source(FORM)], [replace(source(FORM), number=3, score=2.0)])
    assert not same_passages([source(FORM)], [source(FORM, version=2)])


def test_what_makes_no_difference_to_a_question() -> None:
    assert plain("  How do I  carry leave over?? ") == plain("how do i carry leave over")


# -- the cache ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class View:
    version: int = 1
    deleted: bool = False
    groups: tuple[str, ...] = ("staff",)
    clearance: int = 0


@dataclass
class Views:
    """The access view as a value that a test turns."""

    of: dict[str, View] = field(default_factory=lambda: {"leave": View()})

    async def check(self, workspace: str, documents: Sequence[str]) -> Mapping[str, View]:
        return {d: self.of[d] for d in documents if d in self.of}


PLAIN = Controls()


@dataclass
class Made:
    cache: AnswerCache
    views: Views
    figures: Figures
    reuse: list[Reuse | None]
    now: list[int]

    def find(self, question: str = ASKED, person: Person = READER, controls: Controls = PLAIN, **changes: object
             ) -> Hit | None:
        found = replace(FOUND, **changes)  # type: ignore[arg-type]  # by name
        event = replace(asked(question, person), anew=controls.anew)
        space = self.cache.space(event, controls, found, Extractive())
        return asyncio.run(self.cache.find(space, event, controls, found)) if space else None

    def evictions(self) -> dict[str, int]:
        told = self.figures.taken()
        assert told is not None
        return next(c.evictions for c in told.caches if c.cache == ANSWERS)


VECTOR = np.array([1.0, 0.0], np.float32)
FOUND = Retrieved([source(FORM)], [], {}, None, "main", "v1", ASKED, Recipe(), [Found(ASKED, frozenset(), VECTOR)],
                  VECTOR)


async def embed(texts: Sequence[str]) -> Vectors:
    return np.array([[1.0, 0.0] for _ in texts], np.float32)


def asked(question: str = ASKED, person: Person = READER) -> QuestionAsked:
    return QuestionAsked(answer="a", conversation="c", workspace="w", question=question, person=person, asked_at=NOW)


def turn(name: str = "t", question: str = ASKED, **changes: object) -> Turn:
    made = Turn(turn=name, conversation="c", workspace="w", person=READER, question=question, text=FORM[:42],
                outcome=TurnOutcome.ANSWERED, sources=[source(FORM)], citations=CITED, asked_at=NOW, finished_at=NOW,
                model="extractive", index="main", index_version="v1", cost=0.5,
                reuse=answer_key(asked(), Controls(), FOUND, Extractive()))
    return replace(made, **changes)  # type: ignore[arg-type]  # by name


@pytest.fixture
def made() -> Made:
    views, reuse, now = Views(), list[Reuse | None]([ALL]), [NOW]
    figures = Figures("worker", lambda: now[0])
    cache = AnswerCache(3, lambda _: reuse[0], views, lambda _: embed, figures, lambda: now[0])
    return Made(cache, views, figures, reuse, now)


def test_an_answer_is_given_again_and_its_cost_counts_as_saved(made: Made) -> None:
    made.cache.keep(turn())
    hit = made.find("how do I carry unused leave over")
    assert hit is not None and (hit.turn.turn, hit.similarity) == ("t", 1.0)
    near = made.find("How can I carry my unused leave over?")
    assert near is not None and near.similarity < 1 and "“How do I carry unused leave over?”" in near.notice
    told = made.figures.taken()
    assert told is not None and told.caches[0].lookups == {"exact": 1, "semantic": 1} and told.caches[0].saved == 1.0
    assert made.figures.taken() is None


@pytest.mark.parametrize(("view", "reason"), [
    (None, "deleted"), (View(deleted=True), "deleted"), (View(version=2), "changed"), (View(groups=()), "access"),
    (View(clearance=1), "access")], ids=["unknown", "deleted", "newer", "nobody's", "clearance"])
def test_what_the_views_say_now_decides(made: Made, view: View | None, reason: str) -> None:
    made.cache.keep(turn())
    made.views.of = {"leave": view} if view else {}
    assert made.find() is None and len(made.cache) == 0
    assert made.evictions() == {reason: 1}


def test_what_is_erased_while_the_views_are_read_is_not_given(made: Made) -> None:
    class Erasing(Views):
        async def check(self, workspace: str, documents: Sequence[str]) -> Mapping[str, View]:
            made.cache.forget("t")
            return await super().check(workspace, documents)

    made.cache.keep(turn())
    made.cache._views = Erasing()
    assert made.find() is None


def test_other_access_filters_model_or_index_never_meet(made: Made) -> None:
    made.cache.keep(turn())
    assert made.find(person=replace(READER, groups=["staff", "board"])) is None
    assert made.find(person=replace(READER, clearance=1)) is None
    assert made.find(index_version="v2") is None
    assert made.find() is not None


@pytest.mark.parametrize(("changes", "reason"), [
    ({"parts": [*FOUND.parts, *FOUND.parts]}, "parts"), ({"notices": ["Found by keywords alone"]}, "notice"),
    ({"filters": [PlainFilter(said="signed", shown="Signed.")], "notices": ["Signed."]}, "condition")],
    ids=lambda c: c if isinstance(c, str) else "")
def test_what_a_search_may_say_against_it(made: Made, changes: dict[str, object], reason: str) -> None:
    made.cache.keep(turn())
    assert made.find(**changes) is None  # type: ignore[arg-type]  # by name
    told = made.figures.taken()
    assert told is not None and told.caches[0].lookups == {reason: 1}


def test_a_question_that_is_asked_anew_finds_none_and_its_answer_takes_the_place(made: Made) -> None:
    made.cache.keep(turn())
    assert made.find(controls=Controls(anew=True)) is None
    event = replace(asked(), anew=True)
    made.cache.keep(turn("newer", finished_at=NOW + 5,
                         reuse=made.cache.space(event, Controls(anew=True), FOUND, Extractive())))
    hit = made.find()
    assert hit is not None and hit.turn.turn == "newer" and len(made.cache) == 1
    told = made.figures.taken()
    assert told is not None and told.caches[0].lookups == {"anew": 1, "exact": 1}


def test_what_reading_the_question_cost_is_spent_again(made: Made) -> None:
    def read(question: str, cost: float) -> Controls:
        return Controls(reading=Reading("m/question-1", question, (question,), "other words", Difficulty.USUAL,
                                        usage=Usage(30, 4, cost)))

    made.cache.keep(turn(reuse=made.cache.space(asked(), read(ASKED, 0.1), FOUND, Extractive())))
    assert made.find() is None
    hit = made.find(controls=read("How do I carry unused leave over, then?", 0.2))
    assert hit is not None
    done = list(hit.bodies(FOUND, dict))[-1]
    assert isinstance(done, Done) and (done.tokens_in, done.tokens_out, done.cost) == (30, 4, 0.2)
    told = made.figures.taken()
    assert told is not None and told.caches[0].saved == pytest.approx(0.3)


def test_vectors_that_were_remembered_are_told_once(made: Made) -> None:
    vectors = VectorCache(Settings())
    made.figures.counts(vectors)
    vectors.hits, vectors.misses = 3, 2
    told = made.figures.taken()
    assert told is not None and [(c.cache, c.workspace, c.lookups) for c in told.caches] == [
        (VECTORS, EVERYWHERE, {"hit": 3, "missed": 2})]
    assert made.figures.taken() is None
    vectors.hits = 4
    told = made.figures.taken()
    assert told is not None and told.caches[0].lookups == {"hit": 1}


def test_other_passages_of_now_end_it(made: Made) -> None:
    made.cache.keep(turn())
    assert made.find(sources=[source(FORM), source("More on leave.", 2, "more")]) is None
    assert made.evictions() == {"passages": 1}


def test_nothing_is_given_while_a_source_is_being_replaced(made: Made) -> None:
    made.cache.keep(turn())
    assert made.find(sources=[replace(source(FORM), being_replaced=True)]) is None


@pytest.mark.parametrize("changes", [
    {"outcome": TurnOutcome.NOT_IN_SOURCES}, {"notices": ["Found by keywords alone"]}, {"citations": []},
    {"follows": "before"}, {"reuse": ""}, {"sources": [replace(source(FORM), being_replaced=True)]}],
    ids=lambda c: next(iter(c)))
def test_what_is_never_kept(made: Made, changes: dict[str, object]) -> None:
    made.cache.keep(turn(**changes))
    assert len(made.cache) == 0


def test_an_erased_turn_and_one_of_an_erased_passage_are_forgotten(made: Made) -> None:
    made.cache.keep(turn())
    made.cache.forget("t")
    assert len(made.cache) == 0 and made.evictions() == {"erased": 1}
    made.cache.keep(turn())
    made.cache.keep(turn(text="", citations=[], notices=["What this answer was made from has been erased."]))
    assert len(made.cache) == 0


def test_a_document_takes_its_answers_with_it(made: Made) -> None:
    made.cache.keep(turn())
    made.cache.changed("w", "other")
    assert len(made.cache) == 1
    made.cache.changed("w", "leave")
    assert len(made.cache) == 0 and made.evictions() == {"changed": 1}


def test_age_room_and_the_newest_of_one_question(made: Made) -> None:
    made.cache.keep(turn())
    made.cache.keep(turn("newer", finished_at=NOW + 5))
    made.cache.keep(turn("older", finished_at=NOW + 1))
    hit = made.find()
    assert len(made.cache) == 1 and hit is not None and hit.turn.turn == "newer"
    for n, question in enumerate(("What is leave?", "Why is leave unused?", "Who signs it?")):
        made.cache.keep(turn(f"t{n}", question))
    assert len(made.cache) == 3 and made.find() is None
    made.now[0] += ALL.hours * HOUR + 10
    assert made.find("Who signs it?") is None and len(made.cache) == 0
    assert REGISTRY.get_sample_value("weir_cache_entries", {"cache": ANSWERS}) == 0


def test_a_workspace_that_takes_it_back_is_obeyed_at_once(made: Made) -> None:
    made.cache.keep(turn())
    made.reuse[0] = None
    assert made.find() is None
    made.cache.keep(turn("new"))
    assert len(made.cache) == 1
