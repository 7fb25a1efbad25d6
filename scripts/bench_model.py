"""`make bench-model`: from a picture to scores, ours beside onnxruntime's Python API on the same pictures in the same run.

Runs in assets/bench-venv, on one thread. The peers start from the planes that a decoder gives, as ours does: OpenCV makes
RGB of them, then OpenCV or Pillow scales that. Rounds of ours and theirs take turns, for the machine's speed drifts, and
medians are told. Prints a table, writes bench-results/model.json (the rows) and bench-results/model-raw.json (all that was
measured).
"""

import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import cv2
import numpy as np
import onnxruntime
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
CLIPS = ("bigbuckbunny", "bikes", "carphone")
MODELS = ("safety", "efficientnet_lite0", "open_nsfw")
MODEL = ROOT / "assets/models/safety/image-safety-classifier-s.onnx"
SIDE = 224
WIDTH, HEIGHT = 1920, 1080
ROUNDS = int(os.environ.get("ROUNDS", "3"))
# Ours and Pillow's scale by the same rule; OpenCV's area averaging is another.
SCORES_WITHIN = 0.1


def main():
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        folder = Path(name)
        frames = write_frames(folder)
        peers = Peers(frames)
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(bench("speed", frames))
            theirs.append(peers.measure())
        raw = {"ours": middle(ours), "peers": middle(theirs)}
        agree(ours[0]["picture_ms"]["more"]["scores"], peers.scores)
        raw["preprocess"] = preprocess()
        raw["waiting"] = middle([bench("waiting", frames) for _ in range(ROUNDS)])
        raw["memory"] = {model: bench("memory", model)["memory_mb"] for model in MODELS}
        raw["streams"] = [bench("streams", units) for units in write_units(folder)]
    rows = compare(raw)
    results = ROOT / "bench-results"
    results.mkdir(exist_ok=True)
    (results / "model.json").write_text(json.dumps(rows, indent=2) + "\n")
    (results / "model-raw.json").write_text(json.dumps(raw, indent=2) + "\n")
    show(rows)


def write_frames(folder):
    """Frames of the clips, twice a second, at 1080p, as planes."""
    parts = []
    for clip in CLIPS:
        part = folder / f"{clip}.yuv"
        ffmpeg(clip, f"fps=2,scale={WIDTH}:{HEIGHT}", "-frames:v", "8", "-pix_fmt", "yuv420p", "-f", "rawvideo", part)
        parts.append(part.read_bytes())
        part.unlink()
    frames = folder / "frames.yuv"
    frames.write_bytes(b"".join(parts))
    return frames


def write_units(folder):
    """The clips at 1080p as H.264 of nothing but keyframes, four a second, so that they can be played backwards too."""
    for clip in CLIPS:
        units = folder / f"{clip}.h264"
        ffmpeg(clip, f"fps=4,scale={WIDTH}:{HEIGHT}", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23",
               "-x264-params", "keyint=1:aud=1:repeat-headers=1:threads=1", "-f", "h264", units)
        yield units


def ffmpeg(clip, filters, *arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-y", "-i", ROOT / f"assets/clips/{clip}.mp4", "-vf", filters, *arguments],
                   check=True)


def bench(*arguments):
    return {line["what"]: line for line in lines("model", *arguments)}


def preprocess():
    """Of one made picture in every size, still in the cache: its time without the rest."""
    return {line["name"]: line["ms"] for line in lines("preprocess")}


def lines(name, *arguments):
    command = ["cargo", "bench", "--locked", "--quiet", "--bench", name, "--", *map(str, arguments)]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


class Peers:
    """onnxruntime's Python API behind three ways to make its input."""

    def __init__(self, frames):
        planes = np.fromfile(frames, dtype=np.uint8).reshape(-1, HEIGHT * 3 // 2, WIDTH)
        self.frames = list(planes)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(MODEL), options, providers=["CPUExecutionProvider"])
        self.scores = {way: [self.run(prepare(frame)) for frame in self.frames] for way, prepare in WAYS.items()}

    def run(self, tensor):
        return self.session.run(["probabilities"], {"image": tensor})[0][0]

    def measure(self):
        spent = {"run_ms": []} | {f"{way}_{what}": [] for way in WAYS for what in ("prepare_ms", "picture_ms")}
        for frame in self.frames:
            for way, prepare in WAYS.items():
                began = time.thread_time()
                tensor = prepare(frame)
                prepared = time.thread_time()
                self.run(tensor)
                done = time.thread_time()
                spent[f"{way}_prepare_ms"].append(prepared - began)
                spent[f"{way}_picture_ms"].append(done - began)
            spent["run_ms"].append(done - prepared)
        return {what: {"value": 1e3 * statistics.median(values)} for what, values in spent.items()}


def with_pillow(planes):
    picture = Image.fromarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420))
    return ready(np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)))


def with_opencv(planes):
    """Area averaging: without it, a picture that shrinks fivefold loses most of its pixels."""
    rgb = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420)
    return ready(cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA))


def with_opencv_unfiltered(planes):
    """OpenCV's default, quick because it looks at four of the forty pixels under each of its own only."""
    rgb = cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420)
    return ready(cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR))


def ready(rgb):
    return np.ascontiguousarray(rgb.astype(np.float32).transpose(2, 0, 1))[None]


WAYS = {"pillow": with_pillow, "opencv": with_opencv, "opencv_unfiltered": with_opencv_unfiltered}


def agree(ours, theirs):
    """Figures of two that do not do the same would mean nothing."""
    off = max(abs(one - other) for mine, his in zip(ours, theirs["pillow"]) for one, other in zip(mine, his))
    if len(ours) != len(theirs["pillow"]) or off > SCORES_WITHIN:
        raise SystemExit(f"our scores are not the peer's: {off:.3f} apart")


def middle(rounds):
    return {what: {"value": statistics.median(one[what]["value"] for one in rounds)} for what in rounds[0]}


def compare(raw):
    rows = []

    def row(name, ours, unit, goal, peer_name=None, peer=None, better="lower", ratio=None):
        rows.append({"name": name, "ours": ours, "peer_name": peer_name, "peer": peer, "unit": unit, "better": better,
                     "ratio": ratio, "goal": goal})

    ours = {what: of["value"] for what, of in raw["ours"].items()}
    peers = {what: of["value"] for what, of in raw["peers"].items()}
    names = {"pillow": "OpenCV to RGB, Pillow", "opencv": "OpenCV, area", "opencv_unfiltered": "OpenCV, unfiltered"}
    for way, name in names.items():
        peer = peers[f"{way}_prepare_ms"]
        row("preprocess 1080p", ours["prepare_ms"], "ms", "<= 1", name, peer, ratio=peer / ours["prepare_ms"])
    for name, milliseconds in raw["preprocess"].items():
        row(f"{name}, in the cache", milliseconds, "ms", None)
    row("picture to score", ours["picture_ms"], "ms", "<= 1.05x run", "bare run, ours", ours["run_ms"],
        ratio=ours["picture_ms"] / ours["run_ms"])
    row("bare run", ours["run_ms"], "ms", None, "onnxruntime (Python)", peers["run_ms"], ratio=peers["run_ms"] / ours["run_ms"])
    for way, goal in (("pillow", ">= 1.5x"), ("opencv", ">= 1.3x"), ("opencv_unfiltered", None)):
        mine, theirs = 1e3 / ours["picture_ms"], 1e3 / peers[f"{way}_picture_ms"]
        row("pictures per second", mine, "/s", goal, f"Python, {names[way]}", theirs, "higher", mine / theirs)
    waiting = {what: of["value"] for what, of in raw["waiting"].items()}
    row("added latency of batching at low load", waiting["queued_ms"] - waiting["alone_ms"], "ms", "0", "run in the caller",
        waiting["alone_ms"])
    totals = {what: [clip[what]["more"] for clip in raw["streams"]] for what in ("gate_off", "gate_on")}
    for clip in raw["streams"]:
        off, on = clip["gate_off"], clip["gate_on"]
        share = on["more"]["scored"] / on["more"]["pictures"]
        row(f"streams a core, {off['more']['clip']}, {share:.0%} scored", on["value"], "streams", None, "gate off", off["value"],
            "higher", on["value"] / off["value"])
    streams = {}
    for what, clips in totals.items():
        cpu = sum(clip["cpu_ms"] * clip["pictures"] for clip in clips) / sum(clip["pictures"] for clip in clips)
        streams[what] = 2e3 / cpu
    row("streams a core, gate off", streams["gate_off"], "streams", None, better="higher")
    row("streams a core, gate on", streams["gate_on"], "streams", ">= 3x", "gate off", streams["gate_off"], "higher",
        streams["gate_on"] / streams["gate_off"])
    for model, of in raw["memory"].items():
        row(f"memory of {model}", of["value"], "MB", None, "its file", of["more"]["file_bytes"] / 1048576)
    return rows


def show(rows):
    print(f"\n  {'':<46}{'ours':>9}{'peer':>10}{'':>9}{'ratio':>8}  {'goal':<14}peer")
    for row in rows:
        peer = f"{row['peer']:.3g}" if row["peer"] is not None else "-"
        ratio = f"{row['ratio']:.2f}x" if row["ratio"] else "-"
        print(f"  {row['name']:<46}{row['ours']:>9.3g}{peer:>10} {row['unit']:<8}{ratio:>8}  {row['goal'] or '':<14}{row['peer_name'] or ''}")


if __name__ == "__main__":
    main()
