"""Plots as SVG, for pages that are light or dark: bars, ranges on a logarithmic axis, and lines."""

import math
from html import escape

WIDTH, MARGIN, NAMES = 920, 20, 130
# (light, dark) of each series, in their order: the first is the one that the plot is about.
COLOURS = [("#0550ae", "#6cb6ff"), ("#9a6700", "#d4a72c"), ("#bc4c00", "#f0883e"), ("#8250df", "#bc8cff"), ("#116329", "#57d364"), ("#6e7781", "#8b949e")]


def style():
    light = "".join(f" .s{number} {{ fill: {one}; stroke: {one}; }}" for number, (one, _) in enumerate(COLOURS))
    dark = "".join(f" .s{number} {{ fill: {one}; stroke: {one}; }}" for number, (_, one) in enumerate(COLOURS))
    return f"""<style>
text {{ font: 12px system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; fill: #1f2328; stroke: none; }}
.head {{ font-weight: 600; font-size: 14px; }} .end {{ text-anchor: end; }} .middle {{ text-anchor: middle; }}
.card {{ fill: #ffffff; stroke: #d1d9e0; }} .grid {{ stroke: #d1d9e0; }} .bar {{ stroke: none; }} .curve {{ fill: none; stroke-width: 2; }}
{light}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3; }} .card {{ fill: #0d1117; stroke: #3d444d; }} .grid {{ stroke: #3d444d; }}
{dark}
}}
.curve {{ fill: none; }}
</style>"""


def picture(title, description, height, parts):
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" aria-labelledby="title desc" xml:lang="en">\n'
        f'<title id="title">{escape(title)}</title>\n<desc id="desc">{escape(description)}</desc>\n{style()}\n'
        f'<rect class="card" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:g}" rx="6"/>\n'
        f'{text(MARGIN, 28, title, "head")}\n' + "\n".join(parts) + "\n</svg>\n"
    )


def text(x, y, words, kind=""):
    return f'<text{f""" class="{kind}" """.rstrip() if kind else ""} x="{x:g}" y="{y:g}">{escape(words)}</text>'


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def legend(series, y):
    parts, x = [], MARGIN
    for at, name in enumerate(series):
        parts += [f'<rect class="bar s{at}" x="{x:g}" y="{y - 9:g}" width="10" height="10"/>', text(x + 15, y, name)]
        x += 40 + 6.6 * len(name)
    return parts


def bars(title, description, series, panels):
    """panels: (title, a value or None for each of the series). Each panel has a scale of its own, two stand side by side."""
    parts, column, line = [], (WIDTH - 3 * MARGIN) / 2, 17
    height = len(series) * line + 34
    for at, (name, values) in enumerate(panels):
        left, top = MARGIN + at % 2 * (column + MARGIN), 52 + at // 2 * height
        parts.append(text(left, top + 4, name, "head"))
        room, most = column - NAMES - 60, max(value or 0 for value in values) or 1
        for row, (one, value) in enumerate(zip(series, values)):
            y = top + 12 + row * line
            parts.append(text(left + NAMES - 8, y + 11, one, "end"))
            if value is None:
                parts.append(text(left + NAMES, y + 11, "–"))
                continue
            parts.append(f'<rect class="bar s{row}" x="{left + NAMES:g}" y="{y + 1:g}" width="{max(value / most * room, 1):.1f}" height="{line - 5}"/>')
            parts.append(text(left + NAMES + value / most * room + 5, y + 11, number(value)))
    return picture(title, description, 52 + (len(panels) + 1) // 2 * height, parts)


def ranges(title, description, series, groups):
    """groups: (title, a (from, to) or None for each of the series), on one logarithmic axis."""
    all_ends = [end for _, values in groups for value in values if value for end in value]
    low, high = math.floor(math.log10(min(all_ends))), math.ceil(math.log10(max(all_ends)))
    left, room, line = MARGIN + 190, WIDTH - 2 * MARGIN - 200, 8
    height = len(series) * line + 12

    def at(value):
        return left + (math.log10(value) - low) / (high - low) * room

    bottom = 64 + len(groups) * height
    parts = legend(series, 50)
    for power in range(low, high + 1):
        x = at(10**power)
        parts += [f'<path class="grid" d="M{x:.1f} 62V{bottom:g}"/>', text(x, bottom + 16, f"{10**power:,}", "middle")]
    for row, (name, values) in enumerate(groups):
        top = 68 + row * height
        parts.append(text(left - 12, top + height / 2, name, "end"))
        for place, value in enumerate(values):
            if value:
                y = top + place * line + 4
                parts.append(f'<path class="s{place}" stroke-width="2" d="M{at(value[0]):.1f} {y:g}H{at(value[1]):.1f}"/>')
                parts.append(f'<circle class="s{place}" cx="{at(value[0]):.1f}" cy="{y:g}" r="3"/>')
    return picture(title, description, bottom + 30, parts)


def lines(title, description, panels):
    """panels: (title, unit of x, points), each with axes of its own: x logarithmic, y from 0."""
    parts, column, height = [], (WIDTH - 3 * MARGIN) / 2, 190
    for place, (name, unit, points) in enumerate(panels):
        left, top = MARGIN + place % 2 * (column + MARGIN), 52 + place // 2 * (height + 50)
        most = max(y for _, y in points) * 1.15
        widest = math.log2(max(x for x, _ in points) or 1) or 1
        where = [(left + 50 + math.log2(x) / widest * (column - 70), top + height - y / most * (height - 24)) for x, y in points]
        parts.append(text(left, top + 4, name, "head"))
        for share in (0, 0.5, 1):
            y = top + height - share * (height - 24) / 1.15
            parts += [f'<path class="grid" d="M{left + 44:g} {y:.1f}H{left + column - 10:g}"/>', text(left + 40, y + 4, number(share * most / 1.15), "end")]
        parts.append(f'<path class="curve s0" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in where)}"/>')
        for (x, y), (value, _) in zip(where, points):
            parts += [f'<circle class="s0" cx="{x:.1f}" cy="{y:.1f}" r="3"/>', text(x, top + height + 15, f"{value:,}", "middle")]
        parts.append(text(left + column / 2, top + height + 31, unit, "middle"))
    return picture(title, description, 52 + (len(panels) + 1) // 2 * (height + 50), parts)
