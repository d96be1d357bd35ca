"""The comparison as a table in the terminal, as JSON, as Markdown and as a picture."""

import json
import math


def seconds(value):
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * factor >= 1.0 or unit == "us":
            return f"{value * factor:.3g} {unit}"


def share(value):
    return "" if value is None else f"{100 * value:.0f}%"


def cells(row):
    return [row["name"], seconds(row["peer_s"]), seconds(row["ours_s"]), f"{row['ratio']:.2f}", f"{row['ratio_of_least']:.2f}",
            f"{row['target']:g}",
            share(row["share_of_limit"])]


HEAD = ["row", "PyTorch", "ours", "ratio", "of least", "target", "of limit"]


def text(row):
    name, *rest = cells(row)
    return f"{name:<42}" + "".join(f"{cell:>11}" for cell in rest) + ("" if row["ratio"] >= row["target"] else "   below")


def heading():
    return f"{HEAD[0]:<42}" + "".join(f"{cell:>11}" for cell in HEAD[1:])


def markdown(result):
    m = result["machine"]
    lines = [
        "# PyTorch's time / our time", "",
        f"{m['cpu']}, {m['threads']} threads for both sides, PyTorch {m['torch']}; ours: {m['level']}. Both sides in turn, "
        f"medians of {m['rounds']} rounds; \"of least\" is the ratio of the least times, which a busy machine disturbs less.", "",
        f"Limits measured in the same run: {m['flops']:.0f} GFLOP/s, {m['read']:.1f} GB/s read, {m['update']:.1f} GB/s "
        "updated in place.", "",
        "| " + " | ".join(HEAD) + " |", "|---|" + "---:|" * (len(HEAD) - 1),
    ]
    lines += ["| " + " | ".join(cells(row)) + " |" for row in result["rows"]]
    if result["memory"]:
        lines += ["", "| peak memory | PyTorch | ours |", "|---|---:|---:|"]
        lines += [f"| {r['name']} | {r['peer_mib']:.0f} MiB | {r['ours_mib']:.0f} MiB |" for r in result["memory"]]
    return "\n".join(lines) + "\n"


def svg(result):
    """Bars from 1 on a logarithmic axis: to the right of it we are faster; a tick marks the target."""
    rows, line, left, width = result["rows"], 18, 300, 620
    low, high = -3.0, max([4.0] + [math.log2(r["ratio"]) + 1 for r in rows])
    x = lambda ratio: left + width * (min(max(math.log2(ratio), low), high) - low) / (high - low)
    height = 40 + line * len(rows)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 70}" height="{height + 10}" '
           'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>',
           f'<text x="{left}" y="14" fill="#444">PyTorch\'s time / our time; the tick is the target</text>']
    for power in range(math.ceil(low), math.floor(high) + 1):
        at = x(2.0**power)
        out.append(f'<line x1="{at:.1f}" y1="34" x2="{at:.1f}" y2="{height}" stroke="{"#444" if power == 0 else "#ddd"}"/>'
                   f'<text x="{at:.1f}" y="30" text-anchor="middle" fill="#666">{2.0**power:g}</text>')
    for i, row in enumerate(rows):
        y, a, b, tick = 38 + line * i, x(1.0), x(row["ratio"]), x(row["target"])
        color = "#2a7" if row["ratio"] >= row["target"] else "#e90" if row["ratio"] >= 1 else "#c33"
        out.append(f'<text x="{left - 6}" y="{y + 11}" text-anchor="end">{row["name"].replace("&", "&amp;")}</text>'
                   f'<rect x="{min(a, b):.1f}" y="{y + 2}" width="{abs(b - a):.1f}" height="{line - 6}" fill="{color}"/>'
                   f'<line x1="{tick:.1f}" y1="{y}" x2="{tick:.1f}" y2="{y + line - 2}" stroke="#222"/>'
                   f'<text x="{max(a, b) + 4:.1f}" y="{y + 11}" fill="#444">{row["ratio"]:.2f}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


def write(result, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {
        "compare.json": json.dumps(result, indent=1) + "\n",
        "compare.md": markdown(result),
        "compare.svg": svg(result),
    }.items():
        beside = folder / (name + ".tmp")
        beside.write_text(content)
        beside.replace(folder / name)
