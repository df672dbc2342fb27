"""A run as an SVG picture: a small panel for each figure, the stages' times, and the worst questions side by side.

No style sheet and no script: it looks the same in a mail, a wiki and a browser.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from schemas.events import Evaluation, Figure
from weir.evaluation.gate import worst_first

WIDTH, MARGIN = 960, 32
PANEL_WIDTH, PANEL_HEIGHT, ACROSS = 218, 78, 4
ROW = 26
WORST = 12
"""Questions that the picture names."""
PAPER, INK, SOFT, LINE, ACCENT, BAD = "#faf9f6", "#1d2421", "#59635e", "#dfdcd3", "#0b6d6b", "#a3261d"
FONT = 'font-family="system-ui, -apple-system, Segoe UI, Roboto, DejaVu Sans, sans-serif"'


def picture(run: Evaluation, live: Evaluation | None = None) -> str:
    """The picture as SVG text.

    Args:
        live: the run that it is compared with: drawn in grey above each figure.
    """
    parts = _head(run, live)
    top = 118.0
    parts += _panels(run, live, top)
    top += -(-len(run.figures) // ACROSS) * (PANEL_HEIGHT + 8) + 34
    parts += _stages(run, live, top)
    top += len(run.stages) * ROW + 52
    parts += _questions(run, live, top)
    height = top + min(WORST, len(run.questions)) * ROW + 24
    body = "\n".join(parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
            f'viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(_title(run))}" {FONT}>\n'
            f'<rect width="100%" height="100%" fill="{PAPER}"/>\n{body}\n</svg>\n')


def _title(run: Evaluation) -> str:
    return f"{run.set} version {run.set_version} on {run.index}/{run.index_version}"


def _head(run: Evaluation, live: Evaluation | None) -> list[str]:
    when = f"{datetime.fromtimestamp(run.ended_at / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    beside = f" beside the live {live.index_version} ({_short(live.embedding, 24)})" if live else ""
    parts = [_text(MARGIN, 40, _title(run), size=20, weight=600),
             _text(MARGIN, 64, f"{_short(run.embedding, 24)}, {_short(run.model, 30)}{beside} · "
                   f"{len(run.questions)} questions · {when}", colour=SOFT)]
    if run.verdict is not None:
        said = "The gate lets it through." if run.verdict.passed else f"Refused: {run.verdict.reasons[0]}"
        parts.append(_text(MARGIN, 88, _short(said, 125), colour=ACCENT if run.verdict.passed else BAD, weight=600))
    return parts


def _panels(run: Evaluation, live: Evaluation | None, top: float) -> list[str]:
    before = {f.name: f for f in live.figures} if live else {}
    worse = {d.name for d in run.differences if d.value < 0 and d.p_worse < 0.05}
    parts = []
    for n, figure in enumerate(run.figures):
        x, y = MARGIN + n % ACROSS * (PANEL_WIDTH + 8), top + n // ACROSS * (PANEL_HEIGHT + 8)
        colour = BAD if figure.name in worse else ACCENT
        parts += [f'<rect x="{x}" y="{y:.1f}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" rx="8" fill="#fff" '
                  f'stroke="{LINE}"/>',
                  _text(x + 12, y + 22, figure.name.replace("_", " "), colour=SOFT, size=13),
                  _text(x + PANEL_WIDTH - 12, y + 22, f"{figure.value:.3f}", weight=600, end=True, colour=colour)]
        if figure.name in before:
            parts += _whisker(before[figure.name], x + 12, y + 38, PANEL_WIDTH - 24, SOFT)
        parts += _whisker(figure, x + 12, y + 54, PANEL_WIDTH - 24, colour)
        parts.append(_text(x + 12, y + 71, f"n {figure.count}", colour=SOFT, size=10))
    return parts


def _whisker(figure: Figure, x: float, y: float, width: float, colour: str) -> list[str]:
    """The interval and the mean on a line from 0 to 1."""
    return [f'<line x1="{x}" y1="{y:.1f}" x2="{x + width}" y2="{y:.1f}" stroke="{LINE}"/>',
            f'<line x1="{x + width * figure.low:.1f}" y1="{y:.1f}" x2="{x + width * figure.high:.1f}" y2="{y:.1f}" '
            f'stroke="{colour}" stroke-width="3" stroke-linecap="round" opacity="0.45"/>',
            f'<circle cx="{x + width * figure.value:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>']


def _stages(run: Evaluation, live: Evaluation | None, top: float) -> list[str]:
    before = {s.name: s for s in live.stages} if live else {}
    longest = max([s.p95 for s in (*run.stages, *before.values())], default=1.0) or 1.0
    left, width = 190, WIDTH - 190 - 220
    parts = [_text(MARGIN, top, "Milliseconds by stage: median, up to the 95th percentile", colour=SOFT, size=13)]
    for n, stage in enumerate(run.stages):
        y = top + 22 + n * ROW
        parts.append(_text(MARGIN, y + 4, stage.name.replace("_", " "), size=13))
        rows = [(before[stage.name], y - 5, SOFT)] if stage.name in before else []
        for time, at, colour in [*rows, (stage, y + 2, ACCENT)]:
            parts += [f'<line x1="{left}" y1="{at:.1f}" x2="{left + width * time.p95 / longest:.1f}" y2="{at:.1f}" '
                      f'stroke="{colour}" stroke-width="2" opacity="0.4"/>',
                      f'<line x1="{left}" y1="{at:.1f}" x2="{left + width * time.p50 / longest:.1f}" y2="{at:.1f}" '
                      f'stroke="{colour}" stroke-width="5"/>']
        was = f"{before[stage.name].p50:.1f} → " if stage.name in before else ""
        parts.append(_text(WIDTH - MARGIN, y + 4, f"{was}{stage.p50:.1f}, p95 {stage.p95:.1f}", size=13, end=True))
    return parts


def _questions(run: Evaluation, live: Evaluation | None, top: float) -> list[str]:
    beside = live.questions if live else []
    before = {q.id: q.figures.get("quality") for q in beside}
    parts = [_text(MARGIN, top, "Quality of the worst questions" + (", live above this version" if live else ""),
                   colour=SOFT, size=13)]
    left, width = WIDTH - MARGIN - 230, 150
    for n, question in enumerate(worst_first(run.questions, beside)[:WORST]):
        y = top + 22 + n * ROW
        quality = question.figures.get("quality")
        parts.append(_text(MARGIN, y + 4, _short(question.question, 92), size=13))
        for value, at, colour in ((before.get(question.id), y - 4, SOFT), (quality, y + 3, ACCENT)):
            if value is not None:
                parts += [f'<line x1="{left}" y1="{at:.1f}" x2="{left + width}" y2="{at:.1f}" stroke="{LINE}" '
                          'stroke-width="5"/>',
                          f'<line x1="{left}" y1="{at:.1f}" x2="{left + width * value:.1f}" y2="{at:.1f}" '
                          f'stroke="{colour}" stroke-width="5"/>']
        parts.append(_text(WIDTH - MARGIN, y + 4, "" if quality is None else f"{quality:.2f}", size=13, end=True))
    return parts


def _text(x: float, y: float, text: str, *, size: int = 14, colour: str = INK, weight: int = 400, end: bool = False
          ) -> str:
    anchor = ' text-anchor="end"' if end else ""
    return (f'<text x="{x}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" fill="{colour}"{anchor}>'
            f"{escape(_visible(text))}</text>")


def _visible(text: str) -> str:
    """Without characters that XML does not take."""
    return "".join(c if c.isprintable() else " " for c in text)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 1] + "…"
