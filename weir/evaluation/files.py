"""Golden sets from and to files: a folder in BEIR layout, or a CSV file. Every fault is told with its file and line.

BEIR (Thakur et al., NeurIPS Datasets and Benchmarks, 2021): `queries.jsonl` with `_id` and `text`, `qrels/<split>.tsv`
(or `qrels.tsv`) with query, corpus id and score; and, beyond it, `answers.jsonl` with `_id` and `answers`.

CSV: a row for each expectation; rows with the same `id` belong to one question and need its other columns once.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from schemas.events import GoldenPassage, GoldenQuestion
from weir.errors import BadRequest
from weir.evaluation.sets import check

COLUMNS = ("id", "question", "document", "passage", "text", "grade", "answers", "groups", "clearance", "unanswerable",
           "never", "kind", "turn", "good")
"""Of a CSV file; all but `question` may be left out. `answers`, `groups` and `never` hold several, with `|` between."""
_BAR = re.compile(r"(?<!\\)\|")
_YES, _NO = ("true", "yes", "1"), ("", "false", "no", "0")


def read(path: Path, *, split: str = "test", passages: bool | None = None) -> list[GoldenQuestion]:
    """The questions of a folder in BEIR layout or a CSV file.

    Args:
        split: which of the folder's `qrels`.
        passages: whether the folder's corpus ids are passages or documents; None: passages where its `corpus.jsonl`
            says of which document each is.

    Raises:
        BadRequest: a file is not there or not as it should be; the message names file and line.
    """
    questions = _beir(path, split, passages) if path.is_dir() else _csv(path)
    if not questions:
        raise BadRequest(f"{path} holds no question.")
    for question in questions:
        check(question)
    return questions


def to_csv(questions: Sequence[GoldenQuestion]) -> str:
    """The questions as a CSV file that `read` gives back unchanged."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for q in questions:
        for n, expected in enumerate(q.expected or [None]):
            row: dict[str, Any] = {"id": q.id, "question": q.question}
            if n == 0:
                row |= {"answers": _joined(q.answers), "groups": _joined(q.groups), "clearance": q.clearance,
                        "unanswerable": "yes" if q.unanswerable else "", "never": _joined(q.never), "kind": q.kind,
                        "turn": q.turn, "good": "" if q.good is None else "yes" if q.good else "no"}
            if expected is not None:
                row |= {"document": expected.document, "passage": expected.passage, "text": expected.text,
                        "grade": expected.grade}
            writer.writerow(row)
    return out.getvalue()


# -- CSV ----------------------------------------------------------------------------------------------------------


def _csv(path: Path) -> list[GoldenQuestion]:
    reader = csv.DictReader(io.StringIO(_text(path)), strict=True)
    unknown = sorted(set(reader.fieldnames or []) - set(COLUMNS))
    if unknown or "question" not in (reader.fieldnames or []):
        raise BadRequest(f"{path}: {'unknown columns ' + ', '.join(unknown) if unknown else 'no column `question`'}; "
                         f"there are {', '.join(COLUMNS)}.")
    rows: dict[str, list[tuple[int, dict[str, str]]]] = {}
    try:
        for row in reader:
            if None in row or None in row.values():
                raise BadRequest(f"{path} line {reader.line_num}: it has another number of fields than the header.")
            cells = {name: cell.strip() for name, cell in row.items()}
            name = cells.get("id") or _id_of(cells["question"], cells.get("groups", ""))
            rows.setdefault(name, []).append((reader.line_num, cells))
    except csv.Error as e:
        raise BadRequest(f"{path} from line {max(1, reader.line_num)} on: {e}.") from e
    return [_question(path, name, of) for name, of in rows.items()]


def _question(path: Path, name: str, rows: Sequence[tuple[int, dict[str, str]]]) -> GoldenQuestion:
    expected = []
    for line, cells in rows:
        if any(cells.get(c) for c in ("document", "passage", "text")):
            expected.append(GoldenPassage(
                document=cells.get("document", ""), passage=cells.get("passage", ""), text=cells.get("text", ""),
                grade=_number(path, line, "grade", cells.get("grade") or "1")))

    def one(column: str) -> tuple[int, str]:
        """The column's one value among the rows."""
        said = [(line, cells[column]) for line, cells in rows if cells.get(column)]
        if len({value for _, value in said}) > 1:
            raise BadRequest(f"{path} line {said[-1][0]}: {name!r} has another `{column}` than in line {said[0][0]}.")
        return said[0] if said else (rows[0][0], "")

    good = _yes(path, *one("good"), "good") if one("good")[1] else None
    return GoldenQuestion(
        id=name, question=one("question")[1], groups=_several(one("groups")[1]) or ["everyone"],
        clearance=_number(path, one("clearance")[0], "clearance", one("clearance")[1] or "0"), expected=expected,
        answers=_several(one("answers")[1]), unanswerable=_yes(path, *one("unanswerable"), "unanswerable"),
        never=_several(one("never")[1]), kind=one("kind")[1], turn=one("turn")[1], good=good)


def _number(path: Path, line: int, column: str, cell: str) -> int:
    if not cell.isdecimal() or len(cell) > 6:
        raise BadRequest(f"{path} line {line}: `{column}` is {cell[:40]!r} and must be a whole number.")
    return int(cell)


def _yes(path: Path, line: int, cell: str, column: str) -> bool:
    if cell.lower() not in _YES + _NO:
        raise BadRequest(f"{path} line {line}: `{column}` is {cell[:40]!r} and must be yes or no.")
    return cell.lower() in _YES


def _several(cell: str) -> list[str]:
    parts = (part.replace("\\|", "|").strip() for part in _BAR.split(cell))
    return [part for part in parts if part]


def _joined(values: Iterable[str]) -> str:
    return "|".join(value.replace("|", "\\|") for value in values)


def _id_of(question: str, groups: str) -> str:
    """An id for a question that came without: the same for the same question."""
    return "q-" + hashlib.sha256(f"{question}\0{groups}".encode()).hexdigest()[:12]


# -- BEIR ---------------------------------------------------------------------------------------------------------


def _beir(folder: Path, split: str, passages: bool | None) -> list[GoldenQuestion]:
    qrels = next((p for p in (folder / "qrels" / f"{split}.tsv", folder / "qrels.tsv") if p.exists()), None)
    if qrels is None:
        raise BadRequest(f"{folder} has neither qrels/{split}.tsv nor qrels.tsv; `--split` names another.")
    texts = dict(_records(folder / "queries.jsonl", lambda r: (r["_id"], r["text"])))
    answers = folder / "answers.jsonl"
    accepted = dict(_records(answers, lambda r: (r["_id"], list(r["answers"])))) if answers.exists() else {}
    where = _place(folder / "corpus.jsonl", passages)
    expected: dict[str, list[GoldenPassage]] = {}
    for line, text in enumerate(_text(qrels).splitlines(), 1):
        cells = text.split("\t")
        if line == 1 and cells[-1].strip().lower() in ("score", "relevance"):
            continue
        if len(cells) != 3 or not re.fullmatch(r"-?\d{1,6}", cells[2].strip()):
            raise BadRequest(f"{qrels} line {line}: expected a query, a corpus id and a whole number, "
                             "with tabs between.")
        if cells[0] not in texts:
            raise BadRequest(f"{qrels} line {line}: queries.jsonl has no query {cells[0]!r}.")
        if int(cells[2]) > 0:
            expected.setdefault(cells[0], []).append(where(cells[1], int(cells[2])))
    return [GoldenQuestion(id=i, question=texts[i], expected=found, answers=accepted.get(i, []))
            for i, found in expected.items()]


def _place(corpus: Path, passages: bool | None) -> Callable[[str, int], GoldenPassage]:
    """What a corpus id and its score expect."""
    documents: dict[str, str] = {}
    if corpus.exists() and passages is not False:
        documents = {i: d for i, d in _records(corpus, lambda r: (
            r["_id"], str((r.get("metadata") or {}).get("doc", "")))) if d}
    if passages or (passages is None and documents):
        return lambda i, grade: GoldenPassage(document=documents.get(i, ""), passage=i, grade=grade)
    return lambda i, grade: GoldenPassage(document=i, grade=grade)


def _records(path: Path, take: Callable[[Any], tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for line, text in enumerate(_text(path).splitlines(), 1):
        if not text.strip():
            continue
        try:
            yield take(json.loads(text))
        except ValueError as e:
            raise BadRequest(f"{path} line {line} is not JSON: {e}.") from e
        except (KeyError, TypeError) as e:
            raise BadRequest(f"{path} line {line} is not as BEIR has it: {type(e).__name__} {e}.") from e


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as e:
        raise BadRequest(f"{path} cannot be read: {e.strerror}.") from e
    except UnicodeDecodeError as e:
        raise BadRequest(f"{path} is not UTF-8: {e.reason} at byte {e.start}.") from e
