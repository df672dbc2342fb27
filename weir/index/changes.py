"""What may become of an index's record: each change a pure step from one record to the next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from schemas.events import Cut, Index, IndexVersion
from weir.errors import BadRequest, Conflict, NotFound
from weir.index import names


def version_of(index: Index, name: str) -> IndexVersion:
    """
    Raises:
        NotFound: the index has no such version.
    """
    for version in index.versions:
        if version.name == name:
            return version
    raise NotFound(f"the index {index.index!r} has no version {name!r}; it has "
                   f"{', '.join(v.name for v in index.versions)}.")


def live_of(index: Index) -> IndexVersion:
    return version_of(index, index.live)


def next_name(index: Index) -> str:
    """The name of the next version. A name is used once: topics, groups and turns carry it."""
    numbers = [names.number(v.name) for v in (*index.versions, *index.dropping)]
    return names.numbered(max(index.numbered, *numbers) + 1)


def same(a: IndexVersion, b: IndexVersion) -> bool:
    """Whether two versions would answer alike."""
    return (a.cut, a.model, a.revision, a.dimension, a.recipe) == (b.cut, b.model, b.revision, b.dimension, b.recipe)


def added(index: Index, version: IndexVersion, at: int, by: str) -> Index:
    """With a version that is being built.

    Raises:
        Conflict: the name is taken, its cutting recipe's name stands for other lengths, or what it would share is gone
            or about to go.
    """
    if version.name != next_name(index):
        raise Conflict(f"{version.name} has been taken meanwhile: look at `weir index list`, then build again.")
    for known in (*index.versions, *index.dropping):
        if known.cut.name == version.cut.name and known.cut != version.cut:
            raise Conflict(f"the cutting recipe {version.cut.name} of {known.name} has other lengths: two recipes "
                           "never have one name.")
    for store, there in ((version.collection, {v.collection for v in index.versions}),
                         (version.keyword_index, {v.keyword_index for v in index.versions})):
        if not store.endswith(version.name) and store not in there:
            raise Conflict(f"{store}, which {version.name} would share, was replaced meanwhile: build again.")
    cuts = {v.cut.name for v in index.versions}
    for gone in index.dropping:
        if gone.cut.name == version.cut.name and gone.cut.name not in cuts:
            raise Conflict(f"the chunks of {gone.cut.name} are being deleted with {gone.name}: build again when `weir "
                           f"index drop {gone.name}` has ended.")
    return replace(index, versions=[*index.versions, version], numbered=names.number(version.name), changed_at=at,
                   changed_by=by)


def gone_live(index: Index, name: str, at: int, by: str, expected: str, offsets: Mapping[int, int] | None = None
              ) -> Index:
    """With another version that answers.

    Args:
        expected: the live version that the new one was compared with.
        offsets: end of each partition of `documents` when that was done; None keeps what was known.

    Raises:
        NotFound: there is no such version.
        Conflict: it answers already, or what it was compared with does not answer any more.
    """
    version_of(index, name)
    if index.live == name:
        raise Conflict(f"{name} answers already.")
    if index.live != expected:
        raise Conflict(f"{index.live} answers now and not {expected}: somebody has changed the index meanwhile.")
    ends = index.offsets if offsets is None else {str(p): end for p, end in sorted(offsets.items())}
    return replace(index, live=name, previous=index.live, offsets=ends, changed_at=at, changed_by=by)


def retired(index: Index, name: str, at: int, by: str) -> Index:
    """With a version that nobody works for any more; its stores are there until `forgotten`.

    Raises:
        NotFound: there is no such version.
        Conflict: it answers.
    """
    if any(v.name == name for v in index.dropping):
        return index  # a drop that was broken off goes on
    version = version_of(index, name)
    if index.live == name:
        raise Conflict(f"{name} answers questions: go over to another version first (`weir index cutover`, `weir index "
                       "rollback`).")
    return replace(index, versions=[v for v in index.versions if v.name != name], dropping=[*index.dropping, version],
                   previous=None if index.previous == name else index.previous, changed_at=at, changed_by=by)


def forgotten(index: Index, name: str, at: int, by: str) -> Index:
    """Without a version whose stores are gone."""
    return replace(index, dropping=[v for v in index.dropping if v.name != name], changed_at=at, changed_by=by)


def stores_replaced(index: Index, at: int, by: str, *, collection: tuple[str, str] = ("", ""),
                    keyword_index: tuple[str, str] = ("", "")) -> Index:
    """With one store in the place of another, in every version that has it."""
    def changed(v: IndexVersion) -> IndexVersion:
        return replace(v, collection=collection[1] if v.collection == collection[0] else v.collection,
                       keyword_index=keyword_index[1] if v.keyword_index == keyword_index[0] else v.keyword_index)

    return replace(index, versions=[changed(v) for v in index.versions], changed_at=at, changed_by=by)


def cut_with(chunk_chars: int, windows: bool, window_chars: int = 350, window_stride: int = 230) -> Cut:
    """A cutting recipe under the name that says what it is, such as `c800w` or `c400`.

    Raises:
        BadRequest: the lengths make no sense.
    """
    if not (100 <= chunk_chars <= 20_000):
        raise BadRequest("a chunk must have from 100 to 20,000 characters.")
    if windows and not (50 <= window_stride <= window_chars <= chunk_chars):
        raise BadRequest("of windows, 50 <= stride <= length <= the chunk's length must hold.")
    plain = (window_chars, window_stride) == (350, 230)
    name = f"c{chunk_chars}" + ("w" if windows else "") + ("" if plain or not windows
                                                           else f"{window_chars}-{window_stride}")
    assert re.fullmatch(r"[a-z0-9-]+", name)
    return Cut(name=name, chunk_chars=chunk_chars, windows=windows, window_chars=window_chars,
               window_stride=window_stride)
