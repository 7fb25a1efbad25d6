"""`make bench-match`: PDQ and exact matching, ours beside the peers' on the same files in the same run.

Runs in assets/bench-venv, on one thread. Prints a table, writes bench-results/match.json (the rows), bench-results/match-raw.json (all
that was measured) and docs/images/match.svg (query time against bank size).
"""

import json
import math
import os
import resource
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
SIZES = [int(size) for size in os.environ.get("SIZES", "1000,10000,100000,1000000,10000000").split(",")]
QUERIES = 1000
GOALS = {100_000: 12, 1_000_000: 20, 10_000_000: 110, 50_000_000: 500}
LABELS = {100_000: "100k", 1_000_000: "1M", 10_000_000: "10M", 50_000_000: "50M"}


def main():
    faiss.omp_set_num_threads(1)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        pictures = write_pictures(folder)
        write_hashes(folder)
        ours = run_ours(folder)
        peers = hash_peers(folder, pictures) | search_peers(folder)
    rows = compare(pictures, ours, peers)
    results = ROOT / "bench-results"
    results.mkdir(exist_ok=True)
    (results / "match.json").write_text(json.dumps(rows, indent=2) + "\n")
    (results / "match-raw.json").write_text(json.dumps({"ours": ours, "peers": peers}, indent=2) + "\n")
    (ROOT / "docs/images/match.svg").write_text(plot(ours, peers))
    show(rows)


def write_pictures(folder):
    """A frame of a film as the three inputs of the table."""
    frame = folder / "frame.png"
    clip = ROOT / "assets/clips/bigbuckbunny.mp4"
    subprocess.run(["ffmpeg", "-loglevel", "error", "-i", clip, "-frames:v", "1", frame], check=True)
    with Image.open(frame) as opened:
        picture = opened.convert("RGB")
    large, small = picture.resize((1920, 1080), Image.LANCZOS), picture.resize((512, 512), Image.LANCZOS)
    inputs = [
        ("PDQ 1080p RGB", "rgb", large),
        ("PDQ 1080p luma plane", "grey", large.convert("L")),
        ("PDQ 512x512 grey", "grey", small.convert("L")),
    ]
    listed = []
    for number, (name, layout, image) in enumerate(inputs):
        file = f"picture-{number}.raw"
        (folder / file).write_bytes(image.tobytes())
        listed.append({"name": name, "file": file, "layout": layout, "width": image.width, "height": image.height})
    (folder / "pictures.json").write_text(json.dumps(listed))
    return listed


def write_hashes(folder):
    """Random hashes of 128 ones, and queries: half of them copies of an entry with up to 31 bits changed."""
    random = numpy.random.default_rng(20190315)
    smallest = None
    for size in SIZES:
        with open(folder / f"hashes-{size}.bin", "wb") as file:
            for start in range(0, size, 100_000):
                count = min(100_000, size - start)
                order = random.random((count, 256), dtype=numpy.float32).argpartition(128, axis=1)[:, :128]
                bits = numpy.zeros((count, 256), dtype=numpy.uint8)
                numpy.put_along_axis(bits, order, 1, axis=1)
                packed = numpy.packbits(bits, axis=1)
                if smallest is None:
                    smallest = packed
                if start == 0 and size > len(smallest):
                    packed[: len(smallest)] = smallest
                file.write(packed.tobytes())
    near = numpy.unpackbits(smallest[random.integers(0, len(smallest), QUERIES)], axis=1)
    for row in near[::2]:
        flipped = random.choice(256, random.integers(0, 32), replace=False)
        row[flipped] ^= 1
    for row in near[1::2]:
        random.shuffle(row)
    (folder / "queries.bin").write_bytes(numpy.packbits(near, axis=1).tobytes())


def run_ours(folder):
    command = ["cargo", "bench", "--locked", "--quiet", "--bench", "match", "--", str(folder)]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {f"{line['of']} {line['what']}": line for line in lines}


def hash_peers(folder, pictures):
    measured = {}
    for picture in pictures:
        data = numpy.frombuffer((folder / picture["file"]).read_bytes(), dtype=numpy.uint8)
        array = data.reshape(picture["height"], picture["width"], -1)
        if picture["layout"] != "rgb":
            # It takes RGB only: the same value thrice. So its time holds a conversion that ours has not.
            array = numpy.ascontiguousarray(array.repeat(3, axis=2))
        bits, _ = pdqhash.compute(array)
        milliseconds = 1e3 * median(lambda: pdqhash.compute(array))
        digest = bytes(numpy.packbits(bits)).hex()
        measured[f"{picture['name']} hash_ms"] = {"value": milliseconds, "more": {"hash": digest}}
    return measured


def search_peers(folder):
    """faiss as `threatexchange` configures it in its PDQIndex, and faiss' exhaustive search."""
    measured = {}
    queries = numpy.fromfile(folder / "queries.bin", dtype=numpy.uint8).reshape(-1, 32)
    for size in SIZES:
        if size > 10_000_000:
            continue
        entries = numpy.fromfile(folder / f"hashes-{size}.bin", dtype=numpy.uint8).reshape(-1, 32)
        flat = faiss.IndexBinaryFlat(256)
        flat.add(entries)
        few = queries[:20] if size >= 1_000_000 else queries[:200]
        measured[f"{size} flat_us"] = {"value": 1e6 * median(lambda: flat.range_search(few, 32)) / len(few)}
        del flat
        before = resident_mb()
        owner = PDQMultiHashIndex()  # must outlive what is taken out of it
        index = faiss.downcast_IndexBinary(owner.faiss_index.index)
        began = time.thread_time()
        index.add(entries)
        built = time.thread_time() - began
        index.nflip = 31 // index.nhash
        some = queries[:100] if size >= 1_000_000 else queries
        measured[f"{size} query_us"] = {"value": 1e6 * median(lambda: index.range_search(some, 32)) / len(some)}
        measured[f"{size} build_s"] = {"value": built}
        measured[f"{size} bytes_an_entry"] = {"value": (resident_mb() - before) * 1e6 / size}
        del index, owner, entries
    return measured


def median(work, rounds=5):
    spent = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        spent.append(time.thread_time() - began)
    return statistics.median(spent)


def resident_mb():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def compare(pictures, ours, peers):
    rows = []

    def row(name, key, peer_name, unit, goal):
        mine, theirs = ours[key]["value"], peers.get(key, {}).get("value")
        ratio = theirs / mine if theirs else None
        rows.append({"name": name, "ours": mine, "peer_name": peer_name, "peer": theirs, "unit": unit,
                     "better": "lower", "ratio": ratio, "goal": goal})

    for picture, goal in zip(pictures, (">= 50x", ">= 80x", ">= 40x")):
        key = f"{picture['name']} hash_ms"
        if ours[key]["more"]["hash"] != peers[key]["more"]["hash"]:
            sys.exit(f"{picture['name']}: our hash is not the peer's")
        row(picture["name"], key, "pdqhash (PyPI)", "ms", goal)
    for size in SIZES:
        if size in LABELS:
            row(f"match {LABELS[size]} radius 31", f"{size} query_us", "threatexchange PDQIndex (faiss)", "us", f"<= {GOALS[size]}")
    largest = max(size for size in SIZES)
    label = LABELS.get(largest, str(largest))
    row(f"memory an entry {label}", f"{largest} bytes_an_entry", "threatexchange PDQIndex (faiss)", "B", "<= 130")
    row(f"build {label}", f"{largest} build_s", "threatexchange PDQIndex (faiss)", "s", "<= 7")
    return rows


def show(rows):
    print(f"\n  {'':<28}{'ours':>12}{'peer':>12}{'':>5}{'ratio':>9}  {'goal':<10}peer")
    for row in rows:
        peer = f"{row['peer']:.3g}" if row["peer"] else "-"
        ratio = f"{row['ratio']:.1f}x" if row["ratio"] else "-"
        print(f"  {row['name']:<28}{row['ours']:>12.3g}{peer:>12} {row['unit']:<4}{ratio:>9}  {row['goal']:<10}{row['peer_name']}")


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
