"""GStreamer (webrtcbin) publishes an MP4 file of H264 by WHIP, with a tone of 440 Hz left and of 1000 Hz right.

gst_whip.py URL CLIP BEARER gathers all its candidates first, ends with the film, and leaves by DELETE.
"""

import sys
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstAudio", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, GObject, Gst, GstAudio, GstSdp, GstWebRTC  # noqa: E402

VIDEO = "application/x-rtp,media=video,encoding-name=H264,payload=96"
AUDIO = "application/x-rtp,media=audio,encoding-name=OPUS,payload=97"


def request(method: str, url: str, bearer: str, body: bytes | None = None):
    headers = {"authorization": f"Bearer {bearer}"}
    if body is not None:
        headers["content-type"] = "application/sdp"
    return urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=20)


class Publisher:
    """One session from its offer to its end."""

    def __init__(self, url: str, clip: str, bearer: str) -> None:
        self.url, self.bearer, self.session = url, bearer, ""
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.parse_launch(
            "webrtcbin name=peer bundle-policy=max-bundle "
            f'filesrc location="{clip}" ! qtdemux ! queue name=film ! identity sync=true '
            f"! rtph264pay config-interval=-1 aggregate-mode=zero-latency ! {VIDEO} ! peer. "
            f"interleave name=ears ! audio/x-raw,channels=2,channel-mask=(bitmask)3 ! opusenc ! rtpopuspay ! {AUDIO} ! peer. "
            "audiotestsrc is-live=true volume=0.4 freq=440 ! audio/x-raw,rate=48000,channels=1 ! queue ! ears.sink_0 "
            "audiotestsrc is-live=true volume=0.4 freq=1000 ! audio/x-raw,rate=48000,channels=1 ! queue ! ears.sink_1"
        )
        ears = GObject.ValueArray.new(2)
        for position in (GstAudio.AudioChannelPosition.FRONT_LEFT, GstAudio.AudioChannelPosition.FRONT_RIGHT):
            ears.append(position)
        self.pipeline.get_by_name("ears").set_property("channel-positions", ears)
        # webrtcbin keeps the end to itself.
        film = self.pipeline.get_by_name("film").get_static_pad("src")
        film.add_probe(Gst.PadProbeType.EVENT_DOWNSTREAM, self.on_event)
        self.peer = self.pipeline.get_by_name("peer")
        self.peer.connect("on-negotiation-needed", self.on_negotiation_needed)
        self.peer.connect("notify::ice-gathering-state", self.on_gathering)
        for state in ("signaling-state", "ice-gathering-state", "ice-connection-state", "connection-state"):
            self.peer.connect(f"notify::{state}", self.on_state)
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self.on_error)

    def run(self) -> None:
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        if self.session:
            print("deleted", request("DELETE", self.session, self.bearer).status, flush=True)
        self.pipeline.set_state(Gst.State.NULL)

    def on_event(self, _pad, info) -> Gst.PadProbeReturn:
        if info.get_event().type == Gst.EventType.EOS:
            # Its last pictures are on their way.
            GLib.timeout_add(500, self.loop.quit)
        return Gst.PadProbeReturn.OK

    def on_error(self, _bus, message) -> None:
        print("error", *message.parse_error(), flush=True)
        self.loop.quit()

    def on_state(self, peer, state) -> None:
        print(state.name, peer.get_property(state.name).value_nick, flush=True)
        if peer.get_property("connection-state") == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            # Without a connection the film never ends: webrtcbin takes nothing of it.
            GLib.idle_add(self.loop.quit)

    def on_negotiation_needed(self, peer) -> None:
        print("negotiation needed", flush=True)

        def made(promise, *_):
            promise.wait()
            # The reply owns the offer.
            reply = promise.get_reply()
            peer.emit("set-local-description", reply.get_value("offer"), None)

        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(made))

    def on_gathering(self, peer, _) -> None:
        if self.session or peer.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        # Away from webrtcbin's thread, which has more to do than wait for a server.
        GLib.idle_add(self.exchange)

    def exchange(self) -> bool:
        offer = self.peer.get_property("local-description").sdp.as_text()
        with request("POST", self.url, self.bearer, offer.encode()) as response:
            self.session = urllib.parse.urljoin(self.url, response.headers["location"])
            text = response.read()
        _, sdp = GstSdp.SDPMessage.new()
        GstSdp.sdp_message_parse_buffer(text, sdp)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.peer.emit("set-remote-description", answer, None)
        return False


Gst.init(None)
Publisher(*sys.argv[1:]).run()
