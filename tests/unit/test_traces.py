"""What was erased is recognised wherever it stands word for word, and nothing else is."""

from __future__ import annotations

import json
import random

from hypothesis import given
from hypothesis import strategies as st

from weir.erasing.traces import BLOCK, Traces

TEXT = ("Either party may end the Thornlea agreement with ninety days' written notice.\n\nEach enclosure costs 41 "
        "euros – carriage included; «Gehäuse» are billed apart.")


def test_a_text_is_found_in_whatever_holds_it() -> None:
    traces = Traces.of([TEXT.encode()])
    every = traces.found(TEXT.encode())
    assert len(every) == len(traces) > 4
    assert traces.found(json.dumps({"content": TEXT}).encode()) == every
    assert traces.found(json.dumps({"content": TEXT}, ensure_ascii=False).encode()) == every
    assert traces.found(TEXT.replace(" ", "\n   ").encode()) == every
    assert traces.found(TEXT.upper().encode())
    assert traces.found(b"\x01\x02" + TEXT.encode() + b"\x7f\xff")
    quoted = b"According to the contract: may end the Thornlea agreement with ninety days' written notice."
    assert traces.found(quoted)


def test_other_texts_are_not_found() -> None:
    traces = Traces.of([TEXT.encode()])
    assert not traces.found(b"Either party may end the Brackwater deal with thirty days' notice in writing." * 1000)
    assert not traces.found(random.Random(1).randbytes(3 * BLOCK))
    assert not traces.found(b"") and not Traces.of([]).found(TEXT.encode())


def test_a_stretch_across_two_blocks_is_found() -> None:
    traces = Traces.of([b"one stretch of words that is looked for"])
    for shift in range(-40, 40):
        assert traces.found(b"x" * (BLOCK + shift) + b"one stretch of words that is looked for" + b"y" * 100)


def test_what_says_too_little_is_no_trace() -> None:
    assert len(Traces.of([b"0" * 500, b"tiny", b""])) == 0
    short = Traces.of([b"reach-2.10 notes"])
    assert len(short) == 1 and short.found(b"see the Reach 2.10 notes!")


@given(st.lists(st.binary(min_size=0, max_size=300), max_size=5), st.binary(max_size=400))
def test_traces_are_kept_and_read_back(texts: list[bytes], other: bytes) -> None:
    traces = Traces.of(texts)
    back = Traces.from_json(json.loads(json.dumps(traces.to_json())))
    assert back.found(b"".join(texts) + other) == traces.found(b"".join(texts) + other)
    for text in texts:
        found = traces.found(text)
        assert traces.without(found).found(text) == set()


def test_a_receipt_does_not_hold_what_was_erased() -> None:
    kept = json.dumps(Traces.of([TEXT.encode()]).to_json())
    assert "Thornlea" not in kept and "ninety" not in kept
    assert Traces.of([TEXT.encode()]).to_json() != Traces.of([TEXT.encode()]).to_json()
