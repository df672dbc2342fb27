"""Media types: which ones can be read, what the bytes say, and what a file's name suggests."""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePath

from weir.errors import BadDocument


class MediaType(StrEnum):
    MARKDOWN = "text/markdown"
    TEXT = "text/plain"
    HTML = "text/html"
    PDF = "application/pdf"
    DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    CSV = "text/csv"
    QA = "application/x-qa+json"
    PASSAGES = "application/x-passages+json"


_ALIASES = {
    "text/x-markdown": MediaType.MARKDOWN,
    "application/xhtml+xml": MediaType.HTML,
    "application/x-pdf": MediaType.PDF,
    "text/tab-separated-values": MediaType.CSV,
    "application/csv": MediaType.CSV,
}

_SUFFIXES = {
    ".passages.json": MediaType.PASSAGES,
    ".qa.json": MediaType.QA,
    ".qa.jsonl": MediaType.QA,
    ".md": MediaType.MARKDOWN,
    ".markdown": MediaType.MARKDOWN,
    ".html": MediaType.HTML,
    ".htm": MediaType.HTML,
    ".xhtml": MediaType.HTML,
    ".pdf": MediaType.PDF,
    ".docx": MediaType.DOCX,
    ".csv": MediaType.CSV,
    ".tsv": MediaType.CSV,
}
_TEXT_SUFFIXES = frozenset({
    ".txt", ".text", ".rst", ".adoc", ".log", ".tex", ".c", ".cc", ".cpp", ".cs", ".css", ".go", ".h", ".hpp", ".java",
    ".js", ".jsx", ".kt", ".lua", ".php", ".pl", ".ps1", ".py", ".r", ".rb", ".rs", ".scala", ".sh", ".sql", ".swift",
    ".toml", ".ts", ".tsx", ".vue", ".yaml", ".yml", ".ini", ".cfg", ".conf", ".proto", ".gradle", ".cmake",
})

_MAGIC = (
    (b"PK\x03\x04", "a ZIP archive (DOCX, XLSX, JAR, ...)"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an OLE file (old Office format, or an encrypted one)"),
    (b"{\\rtf", "an RTF file"),
    (b"MZ", "a Windows program"),
    (b"\x7fELF", "a Linux program"),
    (b"\xcf\xfa\xed\xfe", "a macOS program"),
    (b"\xca\xfe\xba\xbe", "a Java class or macOS program"),
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"RIFF", "a RIFF file (WebP, WAV, AVI)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"7z\xbc\xaf'\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 file"),
)
_TEXT_MAGIC = frozenset({b"MZ", b"BZh", b"ID3", b"GIF8", b"RIFF", b"Rar!", b"OggS"})
"""Signatures that a text may begin with too; they count only where binary bytes follow."""

_HTML_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body")


def guess_media_type(path: str | PurePath) -> MediaType | None:
    """The media type that a file's name suggests; None where the name says nothing."""
    name = PurePath(path).name.lower()
    for suffix, media_type in _SUFFIXES.items():
        if name.endswith(suffix):
            return media_type
    return MediaType.TEXT if PurePath(name).suffix in _TEXT_SUFFIXES else None


def title_of_file(path: str) -> str:
    """A file's name without its folders and without a suffix that names a media type: `2026.plan` stays whole."""
    name = PurePath(path).name
    known = [suffix for suffix in (*_SUFFIXES, *_TEXT_SUFFIXES) if name.lower().endswith(suffix)]
    return name[: -len(max(known, key=len))] or name if known else name


def read_media_type(declared: str) -> tuple[MediaType, str]:
    """The format that a declared media type asks for, and its charset parameter (empty where it has none).

    Raises:
        BadDocument: `unsupported`.
    """
    name, _, parameters = declared.partition(";")
    name = name.strip().lower()
    charset = ""
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset":
            charset = value.strip().strip("\"'")
    for media_type in MediaType:
        if name == media_type:
            return media_type, charset
    if name in _ALIASES:
        return _ALIASES[name], charset
    if name.startswith("text/"):
        return MediaType.TEXT, charset
    readable = ", ".join(MediaType)
    raise BadDocument("unsupported", f"the media type {name[:100]!r} cannot be read: publish as one of {readable}.")


def check_content(content: bytes, media_type: MediaType) -> None:
    """Refuses content that is plainly something else than declared.

    Raises:
        BadDocument: `empty`, `encrypted` or `mislabelled`.
    """
    if not content.strip(b"\x00 \t\r\n"):
        raise BadDocument("empty", "the document has no content: publish the file again once it has some.")
    found = _sniff(content)
    expected = {MediaType.PDF: "a PDF file", MediaType.DOCX: _MAGIC[0][1]}.get(media_type, "")
    if found == expected or (not found and media_type is MediaType.HTML):
        return
    if media_type is MediaType.DOCX and found == _MAGIC[2][1]:
        if "EncryptedPackage".encode("utf-16-le") in content:
            raise BadDocument("encrypted", "this DOCX is encrypted: remove its password and publish it again.")
        raise BadDocument("mislabelled", "this is an old Word file (.doc): save it as .docx and publish that.")
    if found == "an HTML page" and media_type is MediaType.HTML:
        return
    what = found or "text or unknown bytes"
    raise BadDocument("mislabelled", f"declared as {media_type} but it is {what}: publish it with its real media type.")


def _sniff(content: bytes) -> str:
    """What the first bytes are; empty where they are text or unknown."""
    if b"%PDF-" in content[:1024]:
        return "a PDF file"
    for signature, what in _MAGIC:
        if content.startswith(signature) and (signature not in _TEXT_MAGIC or _binary(content)):
            return what
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "an HTML page" if start.startswith(_HTML_STARTS) else ""


def _binary(content: bytes) -> bool:
    return any(byte < 9 for byte in content[:512])
