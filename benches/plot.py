"""Draws the measurements as one SVG, without a plotting library: a row for each workload, a panel for each metric.

Every bar is a median, with a line from the smallest to the largest value; bars of one panel share a scale that begins
at nothing.
"""

from xml.sax.saxutils import escape

COLORS = {"qlc": "#0b6e4f", "duckdb": "#c9a227", "polars": "#4a7fb5", "chdb": "#b5524a"}
PANELS = {"wall": ("wall, s", 1), "cpu": ("CPU, s", 1), "rss": ("peak RSS, GB", 1e9), "row": ("bytes a row", 1)}
NOTE = "![The same as bars](../benches/figures.svg)\n"
LEFT, TOP, PANEL, BAR, GAP = 110, 56, 205, 13, 18


def svg(found):
    """The drawing of all workloads; `found` is the summaries by workload, tool and metric."""
    parts, top = [], TOP
    for workload, tools in found.items():
        shown = [tool for tool in COLORS if tool in tools]
        parts.append(text(8, top + 11, workload, weight="bold"))
        for column, (metric, (_, scale)) in enumerate(PANELS.items()):
            left = LEFT + column * PANEL
            largest = max(tools[tool][metric]["max"] for tool in shown) or 1
            for nth, tool in enumerate(shown):
                value, y = tools[tool][metric], top + nth * (BAR + 2)
                width = {key: (PANEL - 75) * value[key] / largest for key in ("median", "min", "max")}
                parts.append(f'<rect x="{left}" y="{y}" width="{width["median"]:.1f}" height="{BAR}" fill="{COLORS[tool]}"/>')
                middle = y + BAR / 2
                parts.append(f'<path d="M{left + width["min"]:.1f} {middle}H{left + width["max"]:.1f}" stroke="#222"/>')
                parts.append(text(left + width["max"] + 4, y + 11, f"{value['median'] / scale:.2f}"))
        top += len(shown) * (BAR + 2) + GAP
    heads = [text(LEFT + nth * PANEL, TOP - 10, name, weight="bold") for nth, (name, _) in enumerate(PANELS.values())]
    legend = []
    for nth, (tool, color) in enumerate(COLORS.items()):
        legend.append(f'<rect x="{LEFT + nth * 90}" y="10" width="11" height="11" fill="{color}"/>')
        legend.append(text(LEFT + nth * 90 + 16, 20, {"duckdb": "DuckDB", "polars": "Polars", "chdb": "chDB"}.get(tool, tool)))
    size = f'width="{LEFT + len(PANELS) * PANEL}" height="{top}"'
    style = 'font-family="sans-serif" font-size="11"'
    body = "\n".join([*legend, *heads, *parts])
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n<rect width="100%" height="100%" fill="#fff"/>\n{body}\n</svg>\n'


def text(x, y, words, weight="normal"):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-weight="{weight}">{escape(words)}</text>'
