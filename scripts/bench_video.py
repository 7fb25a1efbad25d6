"""`make bench-video`: banking a 17-minute 480p video on two cores, beside ffmpeg decoding the same file in the same run.

ffmpeg only decodes and throws away; ours also hashes every frame and writes the bank. Prints a table, writes
bench-results/video.json (the rows) and bench-results/video-raw.json (all that was measured). The video is made once from the clips
that `make setup` fetches (minutes) and kept in the folder for temporary files.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIPS = ROOT / "assets/clips"
SECONDS = 17 * 60
# Two cores, whatever the machine has.
TWO_CORES = ["taskset", "--cpu-list", ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[:2])]


def main():
    video = prepared()
    ours = run_ours(video)
    peer = timed(TWO_CORES + ["ffmpeg", "-v", "error", "-nostdin", "-threads", "2", "-i", video, "-f", "null", "-"])
    rows = []
    for name, what, goal in (("bank 17 min of 480p, wall", "wall_s", "< 60"), ("bank 17 min of 480p, CPU", "cpu_s", None)):
        mine = ours[f"bank {what}"]["value"]
        rows.append({"name": name, "ours": mine, "peer_name": "ffmpeg, decoding only, 2 threads", "peer": peer[what],
                     "unit": "s", "better": "lower", "ratio": peer[what] / mine, "goal": goal})
    results = ROOT / "bench-results"
    results.mkdir(exist_ok=True)
    (results / "video.json").write_text(json.dumps(rows, indent=2) + "\n")
    (results / "video-raw.json").write_text(json.dumps({"ours": ours, "ffmpeg": peer}, indent=2) + "\n")
    print(f"\n  {'':<28}{'ours':>9}{'peer':>9}{'':>3}{'ratio':>8}  {'goal':<6}peer")
    for row in rows:
        print(f"  {row['name']:<28}{row['ours']:>9.1f}{row['peer']:>9.1f} {row['unit']}{row['ratio']:>8.2f}x  {row['goal'] or '':<6}{row['peer_name']}")
    for name, unit in (("decode cpu_s", "CPU s"), ("hash ms", "ms a picture"), ("decode peak_mb", "MiB")):
        print(f"  {name:<28}{ours[name]['value']:>9.3g} {unit}")


def prepared():
    """The clips one after the other, again and again, under a slowly moving crop and grain that is new in every frame."""
    folder = Path(tempfile.gettempdir()) / "sluicegate-bench"
    folder.mkdir(exist_ok=True)
    video, part, base = folder / "480p-17min.mp4", folder / "part.mp4", folder / "base.mkv"
    if video.exists():
        return video
    print("making a 17-minute video, once", file=sys.stderr)
    fit = "scale=1024:576:force_original_aspect_ratio=increase,crop=1024:576,setsar=1,fps=25"
    ffmpeg = ["ffmpeg", "-y", "-v", "error", "-nostdin"]
    clips = [CLIPS / f"{name}.mp4" for name in ("bigbuckbunny", "bikes", "carphone")]
    joined = "".join(f"[{n}:v]{fit}[v{n}];" for n in range(3)) + "[v0][v1][v2]concat=n=3:v=1:a=0"
    inputs = [word for clip in clips for word in ("-i", clip)]
    run(ffmpeg + inputs + ["-filter_complex", joined, "-an", "-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", base])
    moving = "crop=854:480:x='85+85*sin(t/7)':y='48+48*sin(t/11)',noise=alls=4:allf=t"
    run(ffmpeg + ["-stream_loop", "-1", "-i", base, "-t", str(SECONDS), "-vf", moving, "-c:v", "libx264", "-preset", "veryfast",
                  "-crf", "24", "-maxrate", "1500k", "-bufsize", "3000k", "-pix_fmt", "yuv420p", "-movflags", "+faststart", part])
    base.unlink()
    return part.rename(video)


def run_ours(video):
    command = TWO_CORES + ["cargo", "bench", "--locked", "--quiet", "--bench", "video", "--", video]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return {f"{line['of']} {line['what']}": line for line in lines}


def timed(command):
    before, began = children(), time.monotonic()
    run(command)
    return {"wall_s": time.monotonic() - began, "cpu_s": children() - before}


def children():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run(command):
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
