"""What each format gives a reader: title, headings, tables, lists; and every refusal with its reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kit.hostile import hostile_files, pdf, rezipped, word
from weir.documents.media_types import MediaType, guess_media_type
from weir.documents.parse import parse
from weir.documents.types import ParsedDocument
from weir.errors import BadDocument

HOSTILE = hostile_files()


def outline(document: ParsedDocument) -> list[tuple[tuple[str, ...], str]]:
    return [(section.heading_path, section.text) for section in document.sections]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_with_its_reason_and_what_to_do(name: str) -> None:
    content, media_type, reason = HOSTILE[name]
    with pytest.raises(BadDocument) as refused:
        parse(content, media_type)
    assert refused.value.reason == reason
    assert ":" in refused.value.message and len(refused.value.message) < 500
    assert not refused.value.retriable


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(list(MediaType)), st.data())
def test_damaged_files_raise_nothing_but_bad_document(media_type: MediaType, data: st.DataObject) -> None:
    good = GOOD[media_type]
    if data.draw(st.booleans()):
        content = bytearray(good)
        for _ in range(data.draw(st.integers(1, 20))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    else:
        content = bytearray(good[: data.draw(st.integers(0, len(good)))])
    try:
        parse(bytes(content), media_type)
    except BadDocument as e:
        assert e.message


# -- Markdown --------------------------------------------------------------------------------------------------------

MARKDOWN = b"""\
---
title: "Handbook 2026"
---
Before any heading, **bold** and [a link](https://example.org).

# People

Hard
wrapped text with `code_name`.

## Leave

- thirty days
- more:
  1. for parents
  2. for carers

| Grade | Days |
|-------|-----:|
| E1    | 30   |
| E2    |      |

```python
def leave():
    return 30
```

## Contact: extension 4105

# Places
<p>Sluice <b>House</b></p><script>x()</script>
"""


def test_markdown_becomes_the_text_that_its_reader_sees() -> None:
    document = parse(MARKDOWN, "text/markdown; charset=utf-8")
    assert document.title == "Handbook 2026"
    assert outline(document) == [
        ((), "Before any heading, bold and a link."),
        (("People",), "Hard wrapped text with code_name."),
        (("People", "Leave"), "- thirty days\n- more:\n  1. for parents\n  2. for carers\n\n"
                              "Grade: E1; Days: 30\nGrade: E2\n\ndef leave():\n    return 30"),
        (("People", "Contact: extension 4105"), "Contact: extension 4105"),
        (("Places",), "Sluice House"),
    ]


# -- HTML ------------------------------------------------------------------------------------------------------------

HTML = """\
<!doctype html><html><head><title>Rates | Intranet</title><style>p {}</style></head><body>
<nav><a href="/">Home</a></nav><h1>Travel  rates</h1>
<main><p>Since 1&nbsp;March.<br>In force.</p><p hidden>secret</p><p style="color:red;display: none">secret</p>
<h2>Hotels</h2><ul><li>145 a night<ul><li>180 in capitals</li></ul></li><li>ask <em>before</em> you book</li></ul>
<table><thead><tr><th>City</th><th>Limit</th></tr></thead>
<tr><td rowspan=2>Porto</td><td>145</td></tr><tr><td>150 in summer</td></tr></table>
<pre>line one
  line two</pre></main><script>track()</script></body></html>"""


def test_html_gives_what_a_reader_would_see() -> None:
    document = parse(HTML.encode(), "text/html")
    assert document.title == "Travel rates"
    assert outline(document) == [
        ((), "Since 1 March.\nIn force."),
        (("Hotels",), "- 145 a night\n  - 180 in capitals\n- ask before you book\n\nCity: Porto; Limit: 145\n"
                      "City: Porto; Limit: 150 in summer\n\nline one\n  line two"),
    ]


def test_html_in_its_declared_character_set() -> None:
    assert parse("<p>größer</p>".encode("iso-8859-15"), "text/html; charset=iso-8859-15").sections[0].text == "größer"
    page = '<html><head><meta charset="windows-1251"></head><body>Привет</body></html>'.encode("windows-1251")
    assert parse(page, "text/html").sections[0].text == "Привет"


# -- PDF -------------------------------------------------------------------------------------------------------------


def test_larger_lines_of_a_pdf_are_its_headings() -> None:
    body = [(11.0, f"Body line {n} that goes on for as long as the column is wide, or so,") for n in range(3)]
    content = pdf([[(20.0, "Supply Agreement"), (11.0, "Between two parties."), (15.0, "1. Price"), *body],
                   [(15.0, "2. Notice"), (11.0, "Ninety days."), *body, *body]])
    document = parse(content, MediaType.PDF)
    assert document.title == "Supply Agreement"
    assert [path for path, _ in outline(document)] == [
        ("Supply Agreement",), ("Supply Agreement", "1. Price"), ("Supply Agreement", "2. Notice"),
    ]
    assert document.sections[1].text == " ".join(text for _, text in body)
    assert document.sections[2].text.startswith("Ninety days.\nBody line 0")


def test_a_pdf_of_one_size_has_a_section_a_page_and_its_propertys_title() -> None:
    document = parse(pdf([[(12, "first page")], [(12, "second page")]], title="Minutes of June"), MediaType.PDF)
    assert document.title == "Minutes of June"
    assert outline(document) == [(("Page 1",), "first page"), (("Page 2",), "second page")]


# -- DOCX ------------------------------------------------------------------------------------------------------------


def test_docx_headings_and_tables_come_in_order() -> None:
    content = word("Preamble.", (1, "Terms"), "Notice is ninety days.", [["Term", "24 months"], ["Notice", "90 days"]],
                   (2, "Prices"), [["Part", "Price", "Unit"], ["TE-3", "38.40", "piece"]], "End.", title="Agreement")
    document = parse(content, MediaType.DOCX)
    assert document.title == "Terms"
    assert outline(document) == [
        ((), "Preamble."),
        (("Terms",), "Notice is ninety days.\n\nTerm: 24 months\nNotice: 90 days"),
        (("Terms", "Prices"), "Part: TE-3; Price: 38.40; Unit: piece\n\nEnd."),
    ]
    assert parse(word("No heading.", title="Agreement"), MediaType.DOCX).title == "Agreement"


def test_docx_text_that_was_inserted_counts_and_deleted_text_does_not() -> None:
    tracked = (
        '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p>'
        '<w:r><w:t xml:space="preserve">Notice: </w:t></w:r>'
        '<w:del w:id="1" w:author="a"><w:r><w:delText>30</w:delText></w:r></w:del>'
        '<w:ins w:id="2" w:author="a"><w:r><w:t>90</w:t></w:r></w:ins>'
        '<w:r><w:t xml:space="preserve"> days</w:t></w:r></w:p></w:body></w:document>'
    )
    document = parse(rezipped(word("x"), {"word/document.xml": tracked.encode()}), MediaType.DOCX)
    assert document.sections[0].text == "Notice: 90 days"


# -- CSV, pairs, text ------------------------------------------------------------------------------------------------


def test_each_csv_row_can_be_read_alone() -> None:
    semicolons = "Artikel;Preis\nHeron 3;4.280,00\n\n\"Otter; lang\";615,00\n".encode("cp1252")
    assert outline(parse(semicolons, "text/csv", title="Preise")) == [
        ((), "Artikel: Heron 3; Preis: 4.280,00\nArtikel: Otter; lang; Preis: 615,00")
    ]
    many = "name,price\r\n" + "".join(f"bolt {n},{n}{chr(0) * (n % 10 == 0)}\r\n" for n in range(60))
    sections = outline(parse(many.encode(), "text/csv"))
    assert [path for path, _ in sections] == [("Rows 1-25",), ("Rows 26-50",), ("Rows 51-60",)]
    assert sections[2][1].startswith("name: bolt 50; price: 50\n")
    assert outline(parse(b"a\tb\n1\t2\n", "text/tab-separated-values")) == [((), "a: 1; b: 2")]


@pytest.mark.parametrize("content", [
    b'[{"question": "How long?", "answer": "Ninety days.\\nNo less."}, {"question": "Why?", "answer": "So."}]',
    b'{"question": "How long?", "answer": "Ninety days.\\nNo less."}\n\n{"question": "Why?", "answer": "So."}\n',
])
def test_each_pair_is_a_section_with_its_question_as_heading(content: bytes) -> None:
    assert outline(parse(content, MediaType.QA)) == [
        (("How long?",), "How long?\nNinety days.\nNo less."), (("Why?",), "Why?\nSo."),
    ]


def test_text_takes_underlined_headings_and_unwraps_hard_wrapped_paragraphs() -> None:
    text = """Release notes
=============

New
---
Ice mode holds the last open-water rating curve while a station is
frozen.

short
lines stay
"""
    document = parse(text.encode("utf-16"), "text/plain")
    assert document.title == "Release notes"
    assert outline(document) == [
        (("Release notes", "New"),
         "Ice mode holds the last open-water rating curve while a station is frozen.\n\nshort\nlines stay"),
    ]


def test_source_code_is_kept_as_it_stands() -> None:
    source = "import os\n\n\nclass A:\n    def f(self):\n        return os.name\n"
    document = parse(source.encode(), "text/x-python", file_name="dir/worker.py")
    assert document.code
    assert outline(document) == [((), source)]
    assert document.title == "worker"


def test_control_characters_and_bidirectional_overrides_are_dropped() -> None:
    text = "pay\x00 \u202eeno\u202c\x1b[0m\x07 now\r\nאבג \u200fok"
    padded = text + "x" * 500
    assert parse(padded.encode(), "text/plain").sections[0].text == "pay eno[0m now\nאבג \u200fok" + "x" * 500


@pytest.mark.parametrize(("content", "text"), [
    ("naïve café".encode("cp1252"), "naïve café"),
    ("größe ".encode() * 20 + b"\xff end", "größe " * 20 + "\ufffd end"),
    (b"\xef\xbb\xbfmarked", "marked"),
])
def test_broken_utf8_is_still_read(content: bytes, text: str) -> None:
    assert parse(content, "text/plain").sections[0].text == text


@pytest.mark.parametrize(("name", "media_type"), [
    ("a/b/Report.PDF", MediaType.PDF), ("x.md", MediaType.MARKDOWN), ("faq.qa.json", MediaType.QA),
    ("c.passages.json", MediaType.PASSAGES), ("main.rs", MediaType.TEXT), ("t.tsv", MediaType.CSV),
    ("page.htm", MediaType.HTML), ("c.docx", MediaType.DOCX), ("data.json", None), ("README", None),
])
def test_a_files_name_suggests_its_media_type(name: str, media_type: MediaType | None) -> None:
    assert guess_media_type(name) == media_type


def test_a_declared_title_wins_and_the_file_name_is_the_last_resort() -> None:
    declared = parse(b"# Heading\n\ntext", "text/markdown", title=" Declared\n title ", file_name="f.md")
    assert declared.title == "Declared title"
    titles = {"notes/2026.plan.md": "2026.plan", "a/v1.2": "v1.2", "faq.qa.json": "faq", ".md": ".md"}
    for name, title in titles.items():
        assert parse(b"text", "text/markdown", file_name=name).title == title


GOOD = {
    MediaType.MARKDOWN: MARKDOWN,
    MediaType.TEXT: b"Some text.\n\nMore text.",
    MediaType.HTML: HTML.encode(),
    MediaType.PDF: pdf([[(20, "Head"), (12, "body"), (12, "more")]]),
    MediaType.DOCX: word((1, "Terms"), "Notice.", [["a", "b"], ["c", "d"]]),
    MediaType.CSV: b"name,price\nbolt,1\nnut,2\n",
    MediaType.QA: b'[{"question": "How long?", "answer": "Ninety days."}]',
    MediaType.PASSAGES: json.dumps({"passages": [{"id": "a", "text": "x", "title": "T"}]}).encode(),
}
