"""`make bench-density`: how many live streams a core carries, and what each costs, beside vpdq, ffmpeg and GStreamer in the same run.

A video of panned photographs with grain, 1080p30 H.264 at 6 Mb/s with a keyframe every 2 s, is made once and kept in the folder for
temporary files. `flv_server` plays it as any number of live HTTP-FLV streams, each begun at another keyframe and another moment, so
that keyframes do not come at once. The real `sluicegate run` pulls them, end to end, with a bank of 100,000 signals; its CPU and its
memory are read from /proc, those of its children among them, those of the server not. Prints a table, writes
bench-results/density.json (the rows), bench-results/density-raw.json (all that was measured) and docs/images/density.svg.
PARTS=peers,parse,density,memory,linear measures these again and takes the others from the last run: each part has its peer in itself.
WINDOW is for how many seconds is measured each time (30).
"""

import contextlib
import json
import os
import random
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
PYTHON = ROOT / "assets/bench-venv/bin/python"
SCRATCH = Path(tempfile.gettempdir()) / "sluicegate-bench"
WINDOW = float(os.environ.get("WINDOW", 30))
CORES = len(os.sched_getaffinity(0))
TICK = os.sysconf("SC_CLK_TCK")
SECONDS = 30
SETTLE = 8
ROUNDS = 3
FFMPEG = ["ffmpeg", "-y", "-v", "error", "-nostdin"]
BANKED = 100_000
# Half of what is to be reached on every core.
HALF_LOAD = 22 * CORES
# So seldom that hardly a picture is ever decoded.
DECODE_AWAY = '[sample]\nmin_interval = "4h"\nmax_gap = "8h"\ninside_groups = "0s"\n'
RING_OFF = "[sample]\nlookback_bytes = 0\n"


def main():
    results = ROOT / "bench-results"
    results.mkdir(exist_ok=True)
    kept = results / "density-raw.json"
    asked = [part for part in os.environ.get("PARTS", "").split(",") if part] or list(PARTS)
    raw = json.loads(kept.read_text()) if kept.exists() else {}
    SCRATCH.mkdir(exist_ok=True)
    for part in asked:
        began = time.monotonic()
        raw[part] = PARTS[part]()
        note(f"{part}: {time.monotonic() - began:.0f} s")
        kept.write_text(json.dumps(raw, indent=2) + "\n")
    if missing := [part for part in PARTS if part not in raw]:
        raise SystemExit(f"not measured yet: PARTS={','.join(missing)}")
    rows = compare(raw)
    (results / "density.json").write_text(json.dumps(rows, indent=2) + "\n")
    (ROOT / "docs/images/density.svg").write_text(plot(raw["linear"]))
    table(rows)


# ---- what is measured ----


def peers():
    """CPU seconds a second of video, from a file, one thread where that can be said."""
    video = film("1080p")
    hashed = f"import vpdq; assert len(vpdq.computeHash({str(video)!r}, seconds_per_hash=1, thread_count=1)) >= {SECONDS}"
    commands = {
        "vpdq": [PYTHON, "-c", hashed],
        "ffmpeg_nokey": ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-skip_frame", "nokey", "-i", video, "-f", "null", "-"],
        "ffmpeg_nokey_no_deblocking": ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-skip_frame", "nokey",
                                       "-skip_loop_filter", "all", "-i", video, "-f", "null", "-"],
        "ffmpeg_full": ["ffmpeg", "-v", "error", "-nostdin", "-threads", "1", "-i", video, "-vf", "fps=1", "-f", "null", "-"],
    }
    spent = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            note(name)
            before = children()
            subprocess.run(command, check=True)
            spent[name].append((children() - before) / SECONDS)
    return {name: statistics.median(values) for name, values in spent.items()}


def parse(streams=20):
    """Cores a stream with decoding taken away, beside as many bare pipelines in one gst-launch-1.0. In turn, for a fair machine."""
    ours, peer = [], []
    for _ in range(ROUNDS):
        with server("1080p", streams) as port:
            with sluicegate(port, streams, DECODE_AWAY) as house:
                ours.append(watch(house.pid)["cores"] / streams)
            chain = "souphttpsrc is-live=true location={} ! flvdemux name={} {}.video ! h264parse config-interval=-1 ! {} ! fakesink sync=false"
            caps = "video/x-h264,stream-format=byte-stream,alignment=au"
            with gstreamer(chain, port, streams, caps) as pid:
                peer.append(watch(pid)["cores"] / streams)
    return {"streams": streams, "ours": statistics.median(ours), "gstreamer": statistics.median(peer)}


def density():
    """Cores a stream of the whole line at half load, and how long a look takes."""
    with server("1080p", HALF_LOAD) as port, sluicegate(port, HALF_LOAD) as house:
        return {"streams": HALF_LOAD} | house.watched()


def memory(few=5, many=45):
    """Megabytes of a further stream."""
    taken = {}
    for name, more in (("ring_on", ""), ("ring_off", RING_OFF)):
        sizes = []
        for streams in (few, many):
            with server("1080p", streams) as port, sluicegate(port, streams, more) as house:
                sizes.append(watch(house.pid)["megabytes"])
        taken[name] = (sizes[1] - sizes[0]) / (many - few)
    chain = ("souphttpsrc is-live=true location={} ! flvdemux name={} {}.video ! h264parse ! avdec_h264 max-threads=1 ! videoconvert "
             "! {} ! fakesink sync=false")
    sizes = []
    chains = (1, 4)
    for streams in chains:
        with server("1080p", streams) as port, gstreamer(chain, port, streams, "video/x-raw,format=RGB") as pid:
            sizes.append(watch(pid)["megabytes"])
    return taken | {"gstreamer": (sizes[1] - sizes[0]) / (chains[1] - chains[0])}


def linear():
    """Cores of 1, 10, 50 and 200 streams: of 360p, which two cores carry, and of 1080p as far as all cores do."""
    return {size: {streams: cores_of(size, streams) for streams in (1, 10, 50, 200) if streams * share < CORES}
            for size, share in (("360p", 0.004), ("1080p", 0.025))}


def cores_of(size, streams):
    note(f"{streams} streams of {size}")
    with server(size, streams) as port, sluicegate(port, streams) as house:
        return house.watched()


PARTS = {"peers": peers, "parse": parse, "density": density, "memory": memory, "linear": linear}


# ---- what it is measured on ----


def film(size):
    """Photographs, panned slowly, under grain that is new in every frame."""
    made = SCRATCH / f"density-{size}.flv"
    if made.exists():
        return made
    note(f"making the video of {size}, once")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([ROOT / "assets/venv/bin/python", ROOT / "scripts/photographs.py", folder], check=True)
        names = ("coffee", "chelsea", "astronaut", "motorcycle_left", "china", "flower", "rocket", "brick", "retina", "ihc")
        inputs, chains = [], []
        width, height, rate = {"1080p": (1920, 1080, "6000k"), "360p": (640, 360, "800k")}[size]
        each = SECONDS / len(names)
        for at, name in enumerate(names):
            inputs += ["-loop", "1", "-framerate", "30", "-t", str(each), "-i", f"{folder}/{name}.png"]
            wide, tall = width * 5 // 4, height * 5 // 4
            chains.append(f"[{at}:v]scale={wide}:{tall}:force_original_aspect_ratio=increase:flags=lanczos,crop={wide}:{tall},"
                          f"crop={width}:{height}:x='(iw-ow)*t/{each}':y='(ih-oh)/2+(ih-oh)/3*sin(t)',setsar=1[v{at}]")
        joined = "".join(f"[v{at}]" for at in range(len(names))) + f"concat=n={len(names)}:v=1,noise=alls=6:allf=t,format=yuv420p[out]"
        part = made.with_suffix(".part.flv")
        subprocess.run(FFMPEG + inputs + ["-filter_complex", ";".join(chains) + ";" + joined, "-map", "[out]", "-an", "-c:v", "libx264",
                       "-preset", "veryfast", "-b:v", rate, "-maxrate", rate, "-bufsize", rate, "-g", "60", "-keyint_min", "60",
                       "-sc_threshold", "0", "-bf", "2", "-f", "flv", part], check=True)
    return part.rename(made)


@contextlib.contextmanager
def server(size, streams):
    command = [BINARIES / "flv_server", film(size), str(streams)]
    with process(command, stdout=subprocess.PIPE, text=True) as running:
        yield int(running.stdout.readline())


@contextlib.contextmanager
def gstreamer(chain, port, streams, caps):
    words = " ".join(chain.format(f"http://127.0.0.1:{port}/live/{at}.flv", f"d{at}", f"d{at}", caps) for at in range(streams))
    with process(["gst-launch-1.0", "-q", *words.split()], stdout=subprocess.DEVNULL) as running:
        yield running.pid


@contextlib.contextmanager
def sluicegate(port, streams, more=""):
    """`sluicegate run` once every stream is inspected."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(folder, port, more)
        log = open(f"{folder}/log", "w")
        with log, process([BINARIES / "sluicegate", "run", "--config", house.configuration], stdout=log, stderr=log) as running:
            house.pid = running.pid
            deadline = time.monotonic() + 60 + streams / 10
            while house.count('sluicegate_access_units_total{kind="keyframe"}') < streams:
                if time.monotonic() > deadline or running.poll() is not None:
                    raise SystemExit(f"sluicegate does not pull {streams} streams:\n{Path(log.name).read_text()[-4000:]}")
                time.sleep(0.2)
            yield house


class House:
    def __init__(self, folder, port, more):
        banks = f"{folder}/banks"
        os.mkdir(banks)
        random_bits = random.Random(3)
        hashes = Path(folder) / "hashes.csv"
        hashes.write_text("".join(f"{healthy(random_bits):064x}\n" for _ in range(BANKED)))
        subprocess.run([BINARIES / "sluicegate", "bank", "import", "noise", hashes, "--format", "hashes", "--banks", banks], check=True,
                       stdout=subprocess.DEVNULL)
        self.api = f"127.0.0.1:{free_port()}"
        self.pid = None
        self.configuration = f"{folder}/sluicegate.toml"
        Path(self.configuration).write_text(f"""
[api]
listen = "{self.api}"
[ledger]
path = "{folder}/ledger.sqlite"
[banks]
dir = "{banks}"
[model]
load = []
[[server]]
name = "main"
kind = "http"
control = "http://127.0.0.1:{port}"
pull = "http://127.0.0.1:{port}"
[server.http]
list = "GET /streams"
items = "/streams"
app = "/app"
stream = "/name"
session = "/id"
kick = "DELETE /streams/{{session}}"
{more}""")

    def metrics(self):
        try:
            with urllib.request.urlopen(f"http://{self.api}/metrics", timeout=10) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def count(self, series):
        return value(self.metrics(), series)

    def watched(self):
        """What it costs, and how looks went meanwhile."""
        before = self.metrics_after(SETTLE)
        cost = watch(self.pid, settle=0)
        after = self.metrics()
        difference = lambda series: value(after, series) - value(before, series)
        decoded = difference('sluicegate_stage_seconds_count{stage="decode"}')
        outcomes = {outcome: difference(f'sluicegate_pictures_total{{outcome="{outcome}"}}') / WINDOW
                    for outcome in ("inspected", "superseded", "stale", "failed")}
        return cost | {
            "pictures_a_second": outcomes,
            "decode_ms": 1e3 * difference('sluicegate_stage_seconds_sum{stage="decode"}') / decoded if decoded else None,
            "latency_p50_ms": 1e3 * quantile(before, after, 0.5),
            "latency_p95_ms": 1e3 * quantile(before, after, 0.95),
        }

    def metrics_after(self, seconds):
        time.sleep(seconds)
        return self.metrics()


def healthy(bits):
    """A hash as PDQ gives it: half of its bits set."""
    return sum(1 << bit for bit in bits.sample(range(256), 128))


def value(text, series):
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def quantile(before, after, share):
    """Of the looks between the two, as Prometheus reckons it: evenly spread within a bucket."""
    pattern = r'^sluicegate_inspection_latency_seconds_bucket\{le="([^"]+)"\} (\S+)$'
    early, late = (dict(re.findall(pattern, text, re.MULTILINE)) for text in (before, after))
    counts = [(float(edge), float(count) - float(early.get(edge, 0))) for edge, count in late.items()]
    wanted, low, below = share * counts[-1][1], 0.0, 0.0
    for edge, count in counts:
        if count >= wanted and count > below:
            return low + (min(edge, 10.0) - low) * (wanted - below) / (count - below)
        low, below = edge, count
    return low


def watch(pid, settle=SETTLE):
    """Cores used and megabytes held by a process and its children."""
    time.sleep(settle)
    began, before, sizes = time.monotonic(), cpu(pid), []
    while time.monotonic() - began < WINDOW:
        time.sleep(WINDOW / 10)
        sizes.append(megabytes(pid))
    after, spent = cpu(pid), time.monotonic() - began
    return {"cores": (after - before) / spent, "megabytes": statistics.median(sizes)}


def family(pid):
    """A process and its children. Those that have ended are counted by their parent."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += family(int(child))
    return found


def cpu(pid):
    ticks = 0
    for member in family(pid):
        # The name, in brackets, may hold anything; behind it, from field 3 on, come numbers.
        fields = Path(f"/proc/{member}/stat").read_text().rsplit(") ", 1)[1].split()
        ticks += sum(int(fields[field - 3]) for field in (14, 15, 16, 17))
    return ticks / TICK


def megabytes(pid):
    """Proportional set sizes: what processes share is counted once."""
    rollups = (Path(f"/proc/{member}/smaps_rollup").read_text() for member in family(pid))
    return sum(int(re.search(r"^Pss:\s+(\d+)", rollup, re.MULTILINE)[1]) for rollup in rollups) / 1024


def children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@contextlib.contextmanager
def process(command, **options):
    running = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def note(text):
    print(f"==> {text}", file=sys.stderr, flush=True)


# ---- what is told ----


def compare(raw):
    peers, half, parsed, held = raw["peers"], raw["density"], raw["parse"], raw["memory"]
    ours = half["streams"] / half["cores"]
    name = "streams a core, 1080p30 keyframes + PDQ + match, vs"
    keyframe = 1e3 * peers["ffmpeg_nokey"] * 2
    fitted = {size: deviation(cost) for size, cost in raw["linear"].items()}
    return [
        row(f"{name} vpdq", ours, "PyPI vpdq, one picture a second", 1 / peers["vpdq"], "", "higher", ">= 15x"),
        row(f"{name} ffmpeg nokey", ours, "ffmpeg -skip_frame nokey, from a file", 1 / peers["ffmpeg_nokey"], "", "higher", ">= 45"),
        row(f"{name} ffmpeg full", ours, "ffmpeg, every frame, to one a second", 1 / peers["ffmpeg_full"], "", "higher", None),
        row("demux, parse, queue: CPU per stream", 1e3 * parsed["ours"], "the same in bare GStreamer", 1e3 * parsed["gstreamer"],
            "mcore", "lower", "<= 1.3x"),
        row("memory per stream, ring on", held["ring_on"], "full GStreamer chain", held["gstreamer"], "MB", "lower", "<= 6"),
        row("memory per stream, ring off", held["ring_off"], "full GStreamer chain", held["gstreamer"], "MB", "lower", "<= 1.5"),
        row("keyframe to finding p95", half["latency_p95_ms"], "decoding alone: ffmpeg, a keyframe", keyframe, "ms", "lower", "<= 80"),
        row("cost at 1, 10, 50, 200 streams", 100 * fitted["360p"], "linear, 360p", 0.0, "%", "lower", "<= 10"),
        row("cost at 10, 50, 200 streams", 100 * deviation({streams: cost for streams, cost in raw["linear"]["360p"].items() if int(streams) > 1}),
            "linear, 360p", 0.0, "%", "lower", "<= 10"),
        row("cost at 1, 10, 50 streams of 1080p", 100 * fitted["1080p"], "linear", 0.0, "%", "lower", "<= 10"),
    ]


def deviation(cost):
    """How far the cost of some streams is off a straight line through all of them, at most, of the cost."""
    line = fit(cost)
    return max(abs(measured["cores"] / line(int(streams)) - 1) for streams, measured in cost.items())


def fit(cost):
    """The line through all points that minimises the relative errors: what a house of no stream costs, and each further one."""
    points = [(int(streams), measured["cores"]) for streams, measured in cost.items()]
    weights = [1 / cores**2 for _, cores in points]
    total = sum(weights)
    x = sum(weight * streams for weight, (streams, _) in zip(weights, points)) / total
    y = sum(weight * cores for weight, (_, cores) in zip(weights, points)) / total
    slope = (sum(weight * (streams - x) * (cores - y) for weight, (streams, cores) in zip(weights, points))
             / sum(weight * (streams - x) ** 2 for weight, (streams, _) in zip(weights, points)))
    return lambda streams: y + slope * (streams - x)


def row(name, ours, peer_name, peer, unit, better, goal):
    ratio = None if not peer or not ours else (peer / ours if better == "lower" else ours / peer)
    return {"name": name, "ours": ours, "peer_name": peer_name, "peer": peer, "unit": unit, "better": better, "ratio": ratio,
            "goal": goal}


def table(rows):
    shown = lambda number: "-" if number is None else f"{number:.3g}"
    print(f"\n  {'':<66}{'ours':>8}{'peer':>8} {'':<6}{'ratio':>7}  {'goal':<8}peer")
    for each in rows:
        ratio = "-" if each["ratio"] is None else f"{each['ratio']:.2f}x"
        print(f"  {each['name']:<66}{shown(each['ours']):>8}{shown(each['peer']):>8} {each['unit']:<6}{ratio:>7}  "
              f"{each['goal'] or '':<8}{each['peer_name']}")


def plot(cost):
    """Cores against streams, both from 1 on and logarithmic, with the fitted lines."""
    import math
    width, height, left, base = 760, 340, 60, 290
    series = [("1080p", "#b5651d", "1080p30, 6 Mb/s"), ("360p", "#1d6f5c", "360p30, 0.8 Mb/s")]
    low = min(measured["cores"] for each in cost.values() for measured in each.values())
    high = max(measured["cores"] for each in cost.values() for measured in each.values())
    bottom, top = math.floor(math.log10(low)), math.ceil(math.log10(high))
    right = math.log10(250)
    x = lambda streams: left + (width - left - 30) * math.log10(streams) / right
    y = lambda cores: base - (base - 70) * (math.log10(cores) - bottom) / (top - bottom)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
             f'<rect width="{width}" height="{height}" fill="#fff"/>',
             f'<text x="{left}" y="20">Cores used by so many live streams with a keyframe every 2 s; lines: what is linear</text>']
    for decade in range(bottom, top + 1):
        at = y(10.0**decade)
        parts.append(f'<line x1="{left}" y1="{at:.1f}" x2="{width - 30}" y2="{at:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{at + 4:.1f}" text-anchor="end">{10.0**decade:g}</text>')
    for streams in (1, 10, 50, 200):
        parts.append(f'<text x="{x(streams):.1f}" y="{base + 18}" text-anchor="middle">{streams}</text>')
    for at, (size, colour, name) in enumerate(series):
        points = {int(streams): measured["cores"] for streams, measured in cost[size].items()}
        line = fit(cost[size])
        parts.append(f'<text x="{left + 190 * at}" y="42" fill="{colour}">● {name}</text>')
        steps = [min(points) * (max(points) / min(points)) ** (step / 40) for step in range(41)]
        path = " ".join(f"{x(step):.1f},{y(line(step)):.1f}" for step in steps)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-dasharray="4 3"/>')
        for streams, cores in points.items():
            parts.append(f'<circle cx="{x(streams):.1f}" cy="{y(cores):.1f}" r="4" fill="{colour}"/>')
            parts.append(f'<text x="{x(streams) - 6:.1f}" y="{y(cores) - 8:.1f}" fill="{colour}" text-anchor="end">{cores:.2g}</text>')
    parts.append(f'<line x1="{left}" y1="{base}" x2="{width - 30}" y2="{base}" stroke="#333"/>')
    return "\n".join(parts + ["</svg>"]) + "\n"


if __name__ == "__main__":
    main()
