#!/usr/bin/python3
"""An RTSP server for the tests: `rtsp_server.py PORT PATH LAUNCH [PATH LAUNCH]...`.

Each LAUNCH is a GStreamer description in parentheses whose payloaders are called pay0, pay1 and so on. All clients of a
path see the same stream, so that whoever comes later joins it in the middle.
"""
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer

Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(sys.argv[1])
for path, launch in zip(sys.argv[2::2], sys.argv[3::2]):
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch)
    factory.set_shared(True)
    server.get_mount_points().add_factory(path, factory)
server.attach(None)
GLib.MainLoop().run()
