"""`make bench-cutoff`: how long cutting off takes on a real nginx-rtmp, and whether a storm of copies is held down.

RUNS publishers (50) turn into a banked clip at every place of their group of pictures; a fifth as many do so before a Sluicegate that
looks at keyframes only, the peer of the same run. STORM copies (600) are put up, one a second. Prints a table and a histogram, writes
bench-results/cutoff.json (the rows), bench-results/cutoff-raw.json (all that was measured) and docs/images/cutoff.svg. PARTS=storm,runs
measures these again and takes the others (outbox, admission) from the last run: each part has its peer in itself.
"""

import json
import math
import os
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUNS, STORM = int(os.environ.get("RUNS", 50)), int(os.environ.get("STORM", 600))
ADMISSION_SECONDS, DECISIONS = 20, 2000
COMMANDS = {
    "runs": ["target/release/cutoff", "runs", str(RUNS)],
    "outbox": ["cargo", "bench", "--locked", "--quiet", "--bench", "outbox", "--", str(DECISIONS)],
    "admission": ["target/release/cutoff", "admission", str(ADMISSION_SECONDS)],
    "storm": ["target/release/cutoff", "storm", str(STORM)],
}


def main():
    results = ROOT / "bench-results"
    results.mkdir(exist_ok=True)
    kept = results / "cutoff-raw.json"
    parts = os.environ.get("PARTS", ",".join(COMMANDS)).split(",")
    raw = json.loads(kept.read_text()) if kept.exists() and len(parts) < len(COMMANDS) else {}
    raw |= {part: measured(COMMANDS[part]) for part in parts}
    rows = compare(raw)
    (results / "cutoff.json").write_text(json.dumps(rows, indent=2) + "\n")
    kept.write_text(json.dumps(raw, indent=2) + "\n")
    gone = [run["gone"] for run in raw["runs"]["lookback"]]
    keyframes_only = [run["gone"] for run in raw["runs"]["keyframes_only"]]
    (ROOT / "docs/images/cutoff.svg").write_text(plot(gone, keyframes_only, goal(raw)))
    table(rows)
    histogram(gone)


def measured(command):
    print("==> " + " ".join(command))
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(next(line for line in output.splitlines() if line.startswith("{")))


def goal(raw):
    return raw["runs"]["keyframe_interval"] + 0.7


def compare(raw):
    ours = sorted(run["gone"] for run in raw["runs"]["lookback"])
    peer = sorted(run["gone"] for run in raw["runs"]["keyframes_only"])
    storm, outbox, admission = raw["storm"], raw["outbox"], raw["admission"]
    rows = []
    for share, word in ((0.5, "p50"), (0.95, "p95"), (1.0, "max")):
        rows.append(row(f"first banked picture to publisher gone, {word}", part(ours, share), "the same, keyframes only",
                        part(peer, share), "s", "lower", f"<= {goal(raw):.1f}" if word == "p95" else None))
    first = sorted(run["gone"] - run["found"] for run in raw["runs"]["lookback"])
    rows.append(row("first match to publisher gone, p95", 1e3 * part(first, 0.95), None, None, "ms", "lower", None))
    judged, alone = (sorted(run["judged"] for run in raw["runs"][which]) for which in ("lookback", "keyframes_only"))
    rows.append(row("suspicious keyframe to verdict of three pictures p50", 1e3 * part(judged, 0.5), "the same, keyframes only",
                    1e3 * part(alone, 0.5), "ms", "lower", None))
    rows.append(row("suspicious keyframe to verdict of three pictures p95", 1e3 * part(judged, 0.95), "the same, keyframes only",
                    1e3 * part(alone, 0.95), "ms", "lower", "< 300"))
    rows.append(row("verdict to server asked p99, 200 decisions a second", 1e3 * outbox["asked"]["p99_s"],
                    "one synchronised append of 4 KiB", 1e3 * outbox["fsync"]["p99_s"], "ms", "lower", "<= 20"))
    rows.append(row("publish hook answered p99, 1000 a second", 1e3 * admission["ours"]["p99_s"],
                    "nginx answering 200 to anything", 1e3 * admission["nginx"]["p99_s"], "ms", "lower", "< 5"))
    rows.append(row("storm: copies cut", storm["cut"], "copies put up, one a second", storm["copies"], "", "higher", "all"))
    rows.append(row("storm: cuts in the ledger, carried out", storm["recorded"], "copies put up", storm["copies"], "", "higher", "all"))
    rows.append(row("storm: most on the air at once", storm["most_at_once"], None, None, "", "lower", "<= 10"))
    rows.append(row("storm: copy on the air, p95", part(sorted(storm["on_air_s"]), 0.95), None, None, "s", "lower", None))
    memory = storm["resident_mb"]
    early, late = memory[len(memory) // 4:len(memory) // 2], memory[3 * len(memory) // 4:]
    rows.append(row("storm: memory, last quarter", statistics.median(late), "second quarter", statistics.median(early), "MB",
                    "lower", "flat"))
    return rows


def row(name, ours, peer_name, peer, unit, better, goal):
    ratio = None if not peer or not ours else (peer / ours if better == "lower" else ours / peer)
    return {"name": name, "ours": ours, "peer_name": peer_name, "peer": peer, "unit": unit, "better": better, "ratio": ratio,
            "goal": goal}


def part(ordered, share):
    """The smallest value that at least this share of all do not exceed."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def table(rows):
    shown = lambda value: "-" if value is None else f"{value:.4g}"
    print(f"\n  {'':<54}{'ours':>8}{'peer':>8} {'':<3}{'ratio':>7}  {'goal':<7}peer")
    for each in rows:
        ratio = "-" if each["ratio"] is None else f"{each['ratio']:.2f}x"
        print(f"  {each['name']:<54}{shown(each['ours']):>8}{shown(each['peer']):>8} {each['unit']:<3}{ratio:>7}  "
              f"{each['goal'] or '':<7}{each['peer_name'] or ''}")


def bins(values, width=0.1):
    counts = {}
    for value in values:
        counts[math.floor(value / width)] = counts.get(math.floor(value / width), 0) + 1
    return {round(step * width, 3): counts.get(step, 0) for step in range(min(counts), max(counts) + 1)}


def histogram(values):
    print("\n  first banked picture to publisher gone, with look-back")
    for start, count in bins(values).items():
        print(f"  {start:>5.1f} s  {'#' * count}")


def plot(ours, peer, goal):
    """Both series as bars over one axis of seconds, with the goal as a line."""
    width, height, left, base = 760, 260, 40, 215
    end = math.ceil(max(ours + peer + [goal]) + 0.2)
    scale = (width - 2 * left) / end
    series = [(ours, "#1d6f5c", "with look-back"), (peer, "#b5651d", "keyframes only")]
    tallest = max(count for values, _, _ in series for count in bins(values).values())
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="#fff"/>',
             f'<text x="{left}" y="20">First banked picture published to publisher gone, runs per 0.1 s</text>']
    for at, (values, colour, name) in enumerate(series):
        parts.append(f'<text x="{left + 170 * at}" y="40" fill="{colour}">■ {name} ({len(values)} runs)</text>')
        for start, count in bins(values).items():
            tall = 150 * count / tallest
            parts.append(f'<rect x="{left + start * scale:.1f}" y="{base - tall:.1f}" width="{0.1 * scale - 1:.1f}" '
                         f'height="{tall:.1f}" fill="{colour}"/>')
    x = left + goal * scale
    parts.append(f'<line x1="{x:.1f}" y1="50" x2="{x:.1f}" y2="{base}" stroke="#a00" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{x + 4:.1f}" y="62" fill="#a00">goal {goal:.1f} s</text>')
    parts.append(f'<line x1="{left}" y1="{base}" x2="{width - left}" y2="{base}" stroke="#333"/>')
    parts += [f'<text x="{left + second * scale:.1f}" y="{base + 18}" text-anchor="middle">{second} s</text>'
              for second in range(end + 1)]
    return "\n".join(parts + ["</svg>"]) + "\n"


if __name__ == "__main__":
    main()
