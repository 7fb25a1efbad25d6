"""`make bench-match`: PDQ and exact matching, ours beside the peers' on the same files in the same run.

Runs in assets/bench-venv, on one thread. Prints a table, writes bench-results/match.json (the rows), bench-results/match-raw.json (all
that was measured) and docs/images/match.svg (query time against bank size).
"""

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import faiss
import numpy
import pdqhash
from PIL import Image
from threatexchange.signal_type.pdq.pdq_faiss_matcher import PDQMultiHashIndex

ROOT = Path(__file__).resolve().parent.parent
GB = 1 << 30


def memory_to_spare():
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


# Fifty million take 8 GB (the index 6.4, the hashes that it is built from 1.6): only where there is plenty of memory, unless SIZES says so.
# Peers are not run beyond ten million.
DEFAULT = [1_000, 10_000, 100_000, 1_000_000, 10_000_000] + ([50_000_000] if memory_to_spare() > 14 * GB else [])
SIZES = sorted(int(size) for size in os.environ["SIZES"].split(",")) if os.environ.get("SIZES") else DEFAULT
PEERS_UP_TO = 10_000_000
# The bank whose memory, building, start-up and changes are told.
LARGEST = max((size for size in SIZES if size <= PEERS_UP_TO), default=None)
GOALS = {100_000: 12, 1_000_000: 20, 10_000_000: 110, 50_000_000: 500}
LABELS = {100_000: "100k", 1_000_000: "1M", 10_000_000: "10M", 50_000_000: "50M"}
PDQ_INDEX = "threatexchange PDQIndex (faiss)"


def main():
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        pictures = write_pictures(folder)
        ours = run_ours(folder)
        peers = hash_peers(folder, pictures) | search_peers(folder)
    rows = compare(pictures, ours, peers)
    results = ROOT / "bench-results"
    results.mkdir(exist_ok=True)
    (results / "match.json").write_text(json.dumps(rows, indent=2) + "\n")
    raw = results / "match-raw.json"
    raw.write_text(json.dumps({"ours": ours, "peers": peers}, indent=2) + "\n")
    (ROOT / "docs/images/match.svg").write_text(plot(**json.loads(raw.read_text())))
    show(rows)


def write_pictures(folder):
    """Frames of the clips, twice a second, as the three inputs of the table: so many that ours meets some that it has to hash again."""
    frames = []
    for clip in sorted((ROOT / "assets/clips").glob("*.mp4")):
        pattern = folder / f"{clip.stem}-%02d.png"
        subprocess.run(["ffmpeg", "-loglevel", "error", "-i", clip, "-vf", "fps=2", "-frames:v", "10", pattern], check=True)
        for frame in sorted(folder.glob(f"{clip.stem}-*.png")):
            with Image.open(frame) as opened:
                frames.append(opened.convert("RGB"))
    listed = []
    for name, layout, mode, size in [
        ("PDQ 1080p RGB", "rgb", "RGB", (1920, 1080)),
        ("PDQ 1080p luma plane", "grey", "L", (1920, 1080)),
        ("PDQ 512x512 grey", "grey", "L", (512, 512)),
    ]:
        file = f"pictures-{len(listed)}.raw"
        (folder / file).write_bytes(b"".join(frame.resize(size, Image.LANCZOS).convert(mode).tobytes() for frame in frames))
        listed.append({"name": name, "file": file, "layout": layout, "width": size[0], "height": size[1]})
    (folder / "pictures.json").write_text(json.dumps(listed))
    return listed


def run_ours(folder):
    """It also makes the banks and the queries, as files that the peers read."""
    measured = bench("match", str(folder), ",".join(map(str, SIZES)))
    if LARGEST:
        measured |= bench("banks", str(folder), str(LARGEST))
    return measured


def bench(name, *arguments):
    command = ["cargo", "bench", "--locked", "--quiet", "--bench", name, "--", *arguments]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {f"{line['of']} {line['what']}": line for line in lines}


def hash_peers(folder, pictures):
    measured = {}
    for picture in pictures:
        data = numpy.frombuffer((folder / picture["file"]).read_bytes(), dtype=numpy.uint8)
        channels = 3 if picture["layout"] == "rgb" else 1
        # It takes RGB only, so of grey the same value thrice: its time holds a conversion that ours has not.
        arrays = data.reshape(-1, picture["height"], picture["width"], channels).repeat(3 // channels, axis=3)
        hashes = [bytes(numpy.packbits(pdqhash.compute(array)[0])).hex() for array in arrays]
        milliseconds = 1e3 * median(lambda: [pdqhash.compute(array) for array in arrays]) / len(arrays)
        measured[f"{picture['name']} hash_ms"] = {"value": milliseconds, "more": {"hashes": hashes}}
    return measured


def search_peers(folder):
    """faiss as `threatexchange` configures it in its PDQIndex, and faiss' exhaustive search."""
    measured = {}
    queries = numpy.fromfile(folder / "queries.bin", dtype=numpy.uint8).reshape(-1, 32)
    for size in SIZES:
        if size > PEERS_UP_TO:
            continue
        entries = numpy.fromfile(folder / f"hashes-{size}.bin", dtype=numpy.uint8).reshape(-1, 32)
        flat = faiss.IndexBinaryFlat(256)
        flat.add(entries)
        few = queries[:20] if size >= 1_000_000 else queries[:200]
        measured[f"{size} flat_us"] = {"value": 1e6 * median(lambda: flat.range_search(few, 32)) / len(few)}
        del flat
        forget_peak()
        before, hashes = status("VmRSS"), entries.nbytes
        owner = PDQMultiHashIndex()  # must outlive what is taken out of it
        index = faiss.downcast_IndexBinary(owner.faiss_index.index)
        began = time.thread_time()
        index.add(entries)
        built = time.thread_time() - began
        index.nflip = 31 // index.nhash
        some = queries[:100] if size >= 1_000_000 else queries
        measured[f"{size} query_us"] = {"value": 1e6 * median(lambda: index.range_search(some, 32)) / len(some)}
        measured[f"{size} build_s"] = {"value": built}
        taken = status("VmRSS") - before
        # A small index may find room in what was let go before.
        if taken > 0:
            measured[f"{size} bytes_an_entry"] = {"value": taken / size}
            # The hashes that it was given among it, as ours.
            measured[f"{size} build_peak"] = {"value": (status("VmHWM") - before + hashes) / taken}
        del index, owner, entries
    return measured


def median(work, rounds=5):
    spent = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    return statistics.median(spent)


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


def status(line):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) * 1024 for text in lines if text.startswith(line + ":"))


def compare(pictures, ours, peers):
    rows = []

    def row(name, key, peer_name, unit, goal, peer=None):
        """`key` of ours beside the same of the peers', or beside what `peer` is."""
        mine, theirs = ours[key]["value"], (peer or peers.get(key, {})).get("value")
        ratio = theirs / mine if theirs else None
        rows.append({"name": name, "ours": mine, "peer_name": peer_name, "peer": theirs, "unit": unit,
                     "better": "lower", "ratio": ratio, "goal": goal})

    for picture, goal in zip(pictures, (">= 50x", ">= 80x", ">= 40x")):
        key = f"{picture['name']} hash_ms"
        if ours[key]["more"]["hashes"] != peers[key]["more"]["hashes"]:
            sys.exit(f"{picture['name']}: our hashes are not the peer's")
        row(picture["name"], key, "pdqhash (PyPI)", "ms", goal)
    for size in SIZES:
        if size in LABELS:
            row(f"match {LABELS[size]} radius 31", f"{size} query_us", PDQ_INDEX, "us", f"<= {GOALS[size]}")
    size = LARGEST
    if size:
        label = LABELS.get(size, str(size))
        row(f"memory an entry {label}", f"{size} bytes_an_entry", PDQ_INDEX, "B", "<= 130")
        row(f"build peak {label}", f"{size} build_peak", PDQ_INDEX, "x index", "<= 2")
        row(f"build {label}", f"{size} build_s", PDQ_INDEX, "s", "<= 7")
        # What a change waits for where the index is built anew with it.
        rebuild = peers[f"{size} build_s"]
        for name, what, goal in [
            ("added signal effective", "added_signal_effective_s", "< 1"),
            ("removed signal effective", "removed_signal_effective_s", "< 1"),
            ("start-up", "start_up_s", "< 2"),
        ]:
            row(f"{name} {label}", f"{size} {what}", "PDQIndex built again", "s", goal, rebuild)
        # Several views of one picture: the time that each of them takes.
        row(f"match {label}, 8 views together", f"{size} 8_views_us", "one by one", "us a view", "less", ours[f"{size} query_us"])
    forms = ["alike", "far", "even"]
    if f"worst cluster {forms[0]}_us" in ours:
        worst = max(forms, key=lambda form: ours[f"worst cluster {form}_us"]["value"])
        key, scan = f"worst cluster {worst}_us", ours[f"worst cluster {worst}_scan_us"]
        size = ours[key]["more"]["size"]
        row(f"worst cluster {LABELS.get(size, size)}", key, "a scan of what is returned", "us", ">= 1x", scan)
    return rows


def show(rows):
    print(f"\n  {'':<32}{'ours':>12}{'peer':>12}{'':>10}{'ratio':>9}  {'goal':<10}peer")
    for row in rows:
        peer = f"{row['peer']:.3g}" if row["peer"] else "-"
        ratio = f"{row['ratio']:.1f}x" if row["ratio"] else "-"
        print(f"  {row['name']:<32}{row['ours']:>12.3g}{peer:>12} {row['unit']:<9}{ratio:>9}  {row['goal']:<10}{row['peer_name']}")


def plot(ours, peers):
    """Query time against bank size, both logarithmic, as an SVG that needs nothing beside it."""
    lines = [
        ("Sluicegate, index", "#3f9142", {size: ours[f"{size} query_us"]["value"] for size in SIZES}),
        ("Sluicegate, scan", "#9aa5b1", {size: ours[f"{size} scan_us"]["value"] for size in SIZES if f"{size} scan_us" in ours}),
        ("threatexchange PDQIndex (faiss)", "#cb6e17", {s: peers[f"{s} query_us"]["value"] for s in SIZES if f"{s} query_us" in peers}),
        ("faiss IndexBinaryFlat", "#d64545", {s: peers[f"{s} flat_us"]["value"] for s in SIZES if f"{s} flat_us" in peers}),
    ]
    low, high = 0, 5
    x = lambda size: 90 + 560 * (math.log10(size) - 3) / max(1e-9, math.log10(max(SIZES)) - 3)
    y = lambda micros: 400 - 360 * (min(max(math.log10(micros), low), high) - low) / (high - low)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 460" font-family="DejaVu Sans, Helvetica, sans-serif" font-size="13" fill="#1f2933">',
           '<rect width="960" height="460" fill="#fbfaf7"/>',
           '<text x="30" y="26" font-weight="bold">Every entry within 31 bits: microseconds a query, one thread</text>']
    for power in range(low, high + 1):
        out.append(f'<line x1="90" x2="650" y1="{y(10**power):.1f}" y2="{y(10**power):.1f}" stroke="#e4e1da"/>'
                   f'<text x="80" y="{y(10**power) + 4:.1f}" text-anchor="end">{10**power:,}</text>')
    for size in SIZES:
        out.append(f'<text x="{x(size):.1f}" y="424" text-anchor="middle">{size:,}</text>')
    out.append('<text x="370" y="448" text-anchor="middle" fill="#52606d">entries in the bank</text>')
    for number, (name, colour, points) in enumerate(lines):
        path = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in sorted(points.items()))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"/>')
        out += [f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="4" fill="{colour}"/>' for size, value in points.items()]
        out.append(f'<circle cx="680" cy="{66 + 24 * number}" r="5" fill="{colour}"/><text x="692" y="{70 + 24 * number}">{name}</text>')
    return "\n".join(out + ["</svg>"]) + "\n"


if __name__ == "__main__":
    main()
