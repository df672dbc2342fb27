"""Makers of documents: well-formed ones to vary, hostile ones that a reader must refuse. All are made from nothing."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

import docx

from weir.documents.media_types import MediaType

# -- PDF ------------------------------------------------------------------------------------------------------------


def pdf(
    pages: Sequence[Sequence[tuple[float, str]]], *, title: str = "", encrypt: str = "", count: int | None = None
) -> bytes:
    """A PDF of pages of (font size, line); one line under the other, ASCII only.

    Args:
        encrypt: an entry for the trailer that names an encryption dictionary.
        count: what the page tree claims; the true number by default.
    """
    objects = {1: b"<< /Type /Catalog /Pages 2 0 R >>", 3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"}
    kids = []
    for lines in pages:
        number = 10 + 2 * len(kids)
        y, drawing = 760.0, []
        for size, line in lines:
            y -= size * 1.3
            escaped = line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
            drawing.append(f"BT /F1 {size} Tf 60 {y} Td ({escaped}) Tj ET")
        stream = "\n".join(drawing).encode("ascii")
        objects[number] = (f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {number + 1} 0 R "
                           "/Resources << /Font << /F1 3 0 R >> >> >>").encode()
        objects[number + 1] = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream)
        kids.append(f"{number} 0 R")
    objects[2] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids) if count is None else count} >>".encode()
    objects[4] = f"<< /Title ({title}) >>".encode()
    return pdf_of_objects(objects, f"/Root 1 0 R /Info 4 0 R {encrypt}")


def pdf_of_objects(objects: dict[int, bytes], trailer: str) -> bytes:
    out = io.BytesIO()
    out.write(b"%PDF-1.7\n")
    places = {}
    for number, body in sorted(objects.items()):
        places[number] = out.tell()
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = out.tell()
    out.write(b"xref\n0 1\n0000000000 65535 f \n")
    for number, place in places.items():
        out.write(b"%d 1\n%010d 00000 n \n" % (number, place))
    out.write(f"trailer\n<< /Size {max(objects) + 1} {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode())
    return out.getvalue()


def encrypted_pdf() -> bytes:
    """Asks for a password: no password gives the digest in /U."""
    entry = "<" + "5a" * 32 + ">"
    return pdf([[(12, "secret")]], encrypt=f"/ID [<{'00' * 16}> <{'00' * 16}>] "
               f"/Encrypt << /Filter /Standard /V 1 /R 2 /O {entry} /U {entry} /P -44 >>")


def scanned_pdf() -> bytes:
    return pdf([[], []])


def endless_pdf() -> bytes:
    """Claims a million pages."""
    return pdf([[(12, "one page")]], count=1_000_000)


def looping_pdf() -> bytes:
    """A page tree that is its own child."""
    tree = b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>"
    return pdf_of_objects({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: tree}, "/Root 1 0 R")


# -- DOCX -----------------------------------------------------------------------------------------------------------


def word(*blocks: tuple[int, str] | str | Sequence[Sequence[str]], title: str = "") -> bytes:
    """A DOCX of headings (level, text), paragraphs, and tables (rows of cells)."""
    document = docx.Document()
    document.core_properties.title = title
    for block in blocks:
        if isinstance(block, str):
            document.add_paragraph(block)
        elif isinstance(block, tuple):
            document.add_heading(block[1], level=block[0])
        else:
            table = document.add_table(len(block), len(block[0]))
            for row, cells in zip(table.rows, block, strict=True):
                for cell, text in zip(row.cells, cells, strict=True):
                    cell.text = text
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def rezipped(content: bytes, replaced: dict[str, bytes], *, drop: str = "") -> bytes:
    """A ZIP archive with some of its files replaced, added, or one dropped."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in dict.fromkeys([*old.namelist(), *replaced]):
            if name != drop:
                new.writestr(name, replaced[name] if name in replaced else old.read(name))
    return out.getvalue()


def zip_bomb_docx() -> bytes:
    """Forty kilobytes that unpack to forty megabytes."""
    return rezipped(word("text"), {"word/media/image1.bin": bytes(40 * 2**20)})


def lying_docx() -> bytes:
    """Its directory says that document.xml is smaller than it is."""
    content = bytearray(word("text" * 1000))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        size = archive.getinfo("word/document.xml").file_size
    wrong = content.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert wrong != content
    return bytes(wrong)


_LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
_PARAGRAPH = ('<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>%s'
              "</w:t></w:r></w:p></w:body></w:document>")


def billion_laughs_docx(encoding: str = "utf-8") -> bytes:
    xml = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE w [<!ENTITY l0 "ha">{_LAUGHS}]>' + _PARAGRAPH % "&l9;"
    return rezipped(word("text"), {"word/document.xml": xml.encode(encoding)})


def file_reading_docx() -> bytes:
    xml = '<?xml version="1.0"?><!DOCTYPE w [<!ENTITY x SYSTEM "file:///etc/hostname">]>' + _PARAGRAPH % "&x;"
    return rezipped(word("text"), {"word/document.xml": xml.encode()})


def deep_docx(levels: int = 100_000) -> bytes:
    xml = _PARAGRAPH % "deep"
    return rezipped(word("text"), {"word/document.xml": xml.replace("<w:p>", "<w:sdt>" * levels + "<w:p>")
                                   .replace("</w:p>", "</w:p>" + "</w:sdt>" * levels).encode()})


def encrypted_docx() -> bytes:
    """What Word writes for a document with a password: an OLE file that holds an EncryptedPackage stream."""
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
    names = ["EncryptionInfo", "EncryptedPackage"]
    return header + b"".join(name.encode("utf-16-le").ljust(128, b"\0") for name in names)


def old_word() -> bytes:
    return b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504) + "WordDocument".encode("utf-16-le").ljust(1024, b"\0")


# -- text formats -----------------------------------------------------------------------------------------------------


def program() -> bytes:
    """The first bytes of a Windows program."""
    return b"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00\xb8" + bytes(range(256)) * 20


def deep_html(levels: int = 100_000, tag: str = "div") -> bytes:
    return f"<html><body>{f'<{tag}>' * levels}deep{f'</{tag}>' * levels}</body></html>".encode()


def long_field_csv(length: int = 10 * 2**20) -> bytes:
    return b'name,note\nbolt,"' + b"x" * length + b'"\n'


def deep_json(levels: int = 100_000) -> bytes:
    return b'{"passages": ' + b"[" * levels + b"]" * levels + b"}"


def slow_markdown(length: int = 400_000) -> bytes:
    """Opening brackets that never close: a reader looks from each of them to the end."""
    return b"[" * length


# -- the list ---------------------------------------------------------------------------------------------------------


def hostile_files() -> dict[str, tuple[bytes, str, str]]:
    """name -> (content, declared media type, the reason with which it must be refused)."""
    good_pdf, good_docx = pdf([[(12, f"line {n}") for n in range(40)]]), word((1, "Terms"), "Notice is ninety days.")
    same_id = b'{"passages": [{"id": "a", "text": "x"}, {"id": "a", "text": "y"}]}'
    half = b'{"passages": [{"id": "a", "text": "\\ud800"}]}'
    return {
        "encrypted PDF": (encrypted_pdf(), MediaType.PDF, "encrypted"),
        "truncated PDF": (good_pdf[: len(good_pdf) // 2], MediaType.PDF, "truncated"),
        "scanned PDF": (scanned_pdf(), MediaType.PDF, "empty"),
        "empty PDF": (b"", MediaType.PDF, "empty"),
        "PDF of a million pages": (endless_pdf(), MediaType.PDF, "oversized"),
        "PDF whose pages are a circle": (looping_pdf(), MediaType.PDF, "unreadable"),
        "PDF that is only its ends": (b"%PDF-1.7\n%%EOF\n", MediaType.PDF, "unreadable"),
        "program as PDF": (program(), MediaType.PDF, "mislabelled"),
        "text as PDF": (b"just text", MediaType.PDF, "mislabelled"),
        "encrypted DOCX": (encrypted_docx(), MediaType.DOCX, "encrypted"),
        "old Word file as DOCX": (old_word(), MediaType.DOCX, "mislabelled"),
        "truncated DOCX": (good_docx[: len(good_docx) // 2], MediaType.DOCX, "truncated"),
        "HTML as DOCX": (b"<!doctype html><p>page", MediaType.DOCX, "mislabelled"),
        "PDF as DOCX": (good_pdf, MediaType.DOCX, "mislabelled"),
        "ZIP as DOCX": (rezipped(good_docx, {}, drop="word/document.xml"), MediaType.DOCX, "mislabelled"),
        "DOCX without text": (word(), MediaType.DOCX, "empty"),
        "DOCX that is a zip bomb": (zip_bomb_docx(), MediaType.DOCX, "hostile"),
        "DOCX that lies about its sizes": (lying_docx(), MediaType.DOCX, "unreadable"),
        "DOCX of a billion laughs": (billion_laughs_docx(), MediaType.DOCX, "hostile"),
        "DOCX of a billion laughs in UTF-16": (billion_laughs_docx("utf-16"), MediaType.DOCX, "hostile"),
        "DOCX that reads files": (file_reading_docx(), MediaType.DOCX, "hostile"),
        "DOCX nested deep": (deep_docx(), MediaType.DOCX, "unreadable"),
        "DOCX as PDF": (good_docx, MediaType.PDF, "mislabelled"),
        "HTML nested deep": (deep_html(), MediaType.HTML, "hostile"),
        "HTML tables nested deep": (deep_html(50_000, "table"), MediaType.HTML, "hostile"),
        "HTML of scripts": (b"<html><script>steal()</script></html>", MediaType.HTML, "empty"),
        "program as HTML": (program(), MediaType.HTML, "mislabelled"),
        "DOCX as Markdown": (good_docx, MediaType.MARKDOWN, "mislabelled"),
        "HTML as Markdown": (b"<!DOCTYPE html><html><p>page</html>", MediaType.MARKDOWN, "mislabelled"),
        "Markdown of quotes in quotes": (b">" * 5000 + b" deep", MediaType.MARKDOWN, "hostile"),
        "binary as text": (bytes(range(1, 256)) * 50, MediaType.TEXT, "mislabelled"),
        "text of spaces": (b" \n" * 1000, MediaType.TEXT, "empty"),
        "program as CSV": (program(), MediaType.CSV, "mislabelled"),
        "CSV of ten megabytes in a field": (long_field_csv(), MediaType.CSV, "unreadable"),
        "CSV of zeros": (bytes(5000), MediaType.CSV, "empty"),
        "passages nested deep": (deep_json(), MediaType.PASSAGES, "unreadable"),
        "passages of another shape": (b'["a", "b"]', MediaType.PASSAGES, "unreadable"),
        "passages of numbers": (b'{"passages": [{"id": 1, "text": 2}]}', MediaType.PASSAGES, "unreadable"),
        "passages of one id": (same_id, MediaType.PASSAGES, "unreadable"),
        "passages without text": (b'{"passages": [{"id": "a", "text": " "}]}', MediaType.PASSAGES, "empty"),
        "passages that break off": (b'{"passages": [{"id": "a", "te', MediaType.PASSAGES, "unreadable"),
        "passages with half a character": (half, MediaType.PASSAGES, "unreadable"),
        "pairs nested deep": (b"[" * 100_000, MediaType.QA, "unreadable"),
        "pairs without answers": (b'[{"question": "Why?"}]', MediaType.QA, "unreadable"),
        "an image": (b"\x89PNG\r\n\x1a\n" + bytes(100), "image/png", "unsupported"),
    }
