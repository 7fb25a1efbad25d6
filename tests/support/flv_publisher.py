"""Publishes an FLV file over RTMP in real time: `flv_publisher.py FILE URL`.

Tag by tag and as it is, whatever its tags hold: other tools write the parameter sets of the track that they have settled on,
and leave out a codec that comes after it.
"""
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst

Gst.init(None)
path, url = sys.argv[1:]
pipeline = Gst.parse_launch("appsrc name=tags format=time caps=video/x-flv block=true max-buffers=4 ! rtmp2sink name=server sync=true")
pipeline.get_by_name("server").set_property("location", url)
pipeline.set_state(Gst.State.PLAYING)
tags = pipeline.get_by_name("tags")
flv = open(path, "rb").read()
at = 13
while at + 11 <= len(flv):
    size = int.from_bytes(flv[at + 1 : at + 4], "big")
    millis = flv[at + 7] << 24 | int.from_bytes(flv[at + 4 : at + 7], "big")
    tag = Gst.Buffer.new_wrapped(flv[at : at + 11 + size + 4])
    tag.pts = millis * Gst.MSECOND
    if tags.emit("push-buffer", tag) != Gst.FlowReturn.OK:
        sys.exit(f"the server hung up {millis} ms into it")
    at += 11 + size + 4
tags.emit("end-of-stream")
pipeline.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
