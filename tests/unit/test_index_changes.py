"""What may become of an index's record."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schemas.events import Cut, Index, IndexVersion
from weir.errors import BadRequest, Conflict, NotFound
from weir.index import changes, names
from weir.settings import Settings

SETTINGS = Settings(prefix="t-")


def version(n: int, **more: object) -> IndexVersion:
    made = IndexVersion(
        name=f"v{n}", cut=Cut(name="c800w"), model="m", revision=str(n), dimension=3, created_at=n,
        collection=names.collection(SETTINGS, f"v{n}"), keyword_index=names.keyword_index(SETTINGS, "v1"))
    return replace(made, **more)  # type: ignore[arg-type]  # by name


INDEX = Index(index="main", live="v1", versions=[version(1)], changed_at=0, changed_by="weir", numbered=1)


def test_a_version_is_built_goes_live_comes_back_and_is_dropped() -> None:
    built = changes.added(INDEX, version(2), 1, "ann")
    assert (built.live, [v.name for v in built.versions], built.numbered) == ("v1", ["v1", "v2"], 2)
    over = changes.gone_live(built, "v2", 2, "ann", "v1", {1: 7, 0: 5})
    assert (over.live, over.previous, over.offsets, over.changed_by) == ("v2", "v1", {"0": 5, "1": 7}, "ann")
    back = changes.gone_live(over, "v1", 3, "ben", "v2")
    assert (back.live, back.previous, back.offsets) == ("v1", "v2", over.offsets)
    retired = changes.retired(back, "v2", 4, "ben")
    assert ([v.name for v in retired.versions], [v.name for v in retired.dropping], retired.previous) == (
        ["v1"], ["v2"], None)
    gone = changes.forgotten(retired, "v2", 5, "ben")
    assert gone.dropping == [] and gone.versions == INDEX.versions


def test_the_name_of_a_version_is_never_given_again() -> None:
    built = changes.added(INDEX, version(2), 1, "ann")
    gone = changes.forgotten(changes.retired(built, "v2", 2, "ann"), "v2", 3, "ann")
    assert changes.next_name(gone) == "v3"
    with pytest.raises(Conflict, match="taken"):
        changes.added(gone, version(2), 4, "ann")
    # A record of a Weir that did not count yet.
    assert changes.next_name(replace(built, numbered=0)) == "v3"


def test_the_version_that_answers_is_not_dropped() -> None:
    with pytest.raises(Conflict, match="answers questions"):
        changes.retired(INDEX, "v1", 1, "ann")
    with pytest.raises(NotFound, match="v7"):
        changes.retired(INDEX, "v7", 1, "ann")


def test_a_drop_that_was_broken_off_goes_on() -> None:
    retired = changes.retired(changes.added(INDEX, version(2), 1, "ann"), "v2", 2, "ann")
    assert changes.retired(retired, "v2", 9, "ben") == retired


def test_a_cutover_is_refused_where_another_version_went_live_meanwhile() -> None:
    three = changes.added(changes.added(INDEX, version(2), 1, "ann"), version(3), 2, "ann")
    over = changes.gone_live(three, "v2", 3, "ben", "v1")
    with pytest.raises(Conflict, match="v2 answers now and not v1"):
        changes.gone_live(over, "v3", 4, "ann", "v1")
    with pytest.raises(Conflict, match="answers already"):
        changes.gone_live(over, "v2", 4, "ann", "v2")


def test_what_a_version_would_share_must_be_there() -> None:
    with pytest.raises(Conflict, match="was replaced meanwhile"):
        changes.added(INDEX, version(2, keyword_index="weir-chunks-v1_r2"), 1, "ann")
    with pytest.raises(Conflict, match="was replaced meanwhile"):
        changes.added(INDEX, version(2, collection="weir_v0"), 1, "ann")


def test_chunks_that_are_being_deleted_are_not_built_upon() -> None:
    other = version(2, cut=Cut(name="c400"), keyword_index="weir-chunks-v2")
    retired = changes.retired(changes.added(INDEX, other, 1, "ann"), "v2", 2, "ann")
    again = version(3, cut=Cut(name="c400"), keyword_index="weir-chunks-v3")
    with pytest.raises(Conflict, match="being deleted with v2"):
        changes.added(retired, again, 3, "ann")
    assert changes.added(changes.forgotten(retired, "v2", 3, "ann"), again, 4, "ann").numbered == 3


def test_two_cutting_recipes_never_have_one_name() -> None:
    with pytest.raises(Conflict, match="other lengths"):
        changes.added(INDEX, version(2, cut=Cut(name="c800w", chunk_chars=700)), 1, "ann")


def test_a_rebuilt_store_takes_its_place_in_every_version_that_shares_it() -> None:
    both = changes.added(INDEX, version(2), 1, "ann")
    old = both.versions[0].keyword_index
    after = changes.stores_replaced(both, 2, "weir rebuild", keyword_index=(old, "new"))
    assert [v.keyword_index for v in after.versions] == ["new", "new"]
    assert [v.collection for v in after.versions] == [v.collection for v in both.versions]


@pytest.mark.parametrize(("made", "name"), [
    (changes.cut_with(800, True), "c800w"), (changes.cut_with(400, False), "c400"),
    (changes.cut_with(1200, True, 300, 200), "c1200w300-200")])
def test_a_cutting_recipe_says_what_it_is(made: Cut, name: str) -> None:
    assert made.name == name


@pytest.mark.parametrize("wrong", [(50, False), (30_000, False), (300, True), (800, True, 350, 400)])
def test_lengths_that_make_no_sense_are_refused(wrong: tuple[int, bool]) -> None:
    with pytest.raises(BadRequest):
        changes.cut_with(*wrong)


@pytest.mark.parametrize(("label", "owner"), [("v1", "v1"), ("v1_r2", "v1"), ("v12_r10", "v12")])
def test_a_store_belongs_to_the_version_that_it_was_made_for(label: str, owner: str) -> None:
    assert names.owner(label) == owner
