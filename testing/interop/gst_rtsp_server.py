"""GstRtspServer: gst_rtsp_server.py CLIP RECORDING WIDTH HEIGHT plays an MP4 file at /play and writes
what is announced at /record, H264 of that size with Opus, as Matroska.

Prints its port, and "recorded" when a recording is complete.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402


def factory(launch: str, mode: GstRtspServer.RTSPTransportMode) -> GstRtspServer.RTSPMediaFactory:
    made = GstRtspServer.RTSPMediaFactory()
    made.set_transport_mode(mode)
    made.set_launch(launch)
    made.set_eos_shutdown(True)
    return made


def main() -> None:
    clip, recording, width, height = sys.argv[1:]
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    places = server.get_mount_points()
    film = f'( filesrc location="{clip}" ! qtdemux name=film'
    video = "film.video_0 ! queue ! rtph264pay name=pay0 config-interval=-1"
    sound = "film.audio_0 ! queue ! rtpmp4gpay name=pay1 )"
    places.add_factory("/play", factory(f"{film} {video} {sound}", GstRtspServer.RTSPTransportMode.PLAY))
    # h264parse would find the size out; it lies in a package of many times this one's weight.
    size = f'capssetter caps="video/x-h264,width={width},height={height}"'
    video = f'( rtph264depay name=depay0 ! {size} ! queue ! matroskamux name=film ! filesink location="{recording}"'
    sound = "rtpopusdepay name=depay1 ! queue ! film. )"
    record = factory(f"{video} {sound}", GstRtspServer.RTSPTransportMode.RECORD)
    record.connect("media-configure", lambda _, media: media.connect("unprepared", lambda _: print("recorded", flush=True)))
    places.add_factory("/record", record)
    server.attach(None)
    print("port", server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main()
