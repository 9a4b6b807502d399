"""aiortc publishes a moving picture and a tone by WHIP: aiortc_whip.py URL [--passive] [--forge] [--seconds N]."""

import argparse
import asyncio
import urllib.request

import numpy
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import VideoFrame


class Moving(VideoStreamTrack):
    """320x180, another grey in every picture."""

    shade = 0

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        self.shade = (self.shade + 3) % 256
        frame = VideoFrame.from_ndarray(numpy.full((180, 320, 3), self.shade, numpy.uint8), "rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--passive", action="store_true", help="be the DTLS server")
    parser.add_argument("--forge", action="store_true", help="name another certificate in the offer")
    parser.add_argument("--seconds", type=float, default=3)
    options = parser.parse_args()

    peer = RTCPeerConnection()
    peer.addTrack(Moving())
    peer.addTrack(AudioStreamTrack())
    await peer.setLocalDescription(await peer.createOffer())
    sdp = peer.localDescription.sdp
    if options.passive:
        sdp = sdp.replace("a=setup:actpass", "a=setup:passive")
    if options.forge:
        lines = sdp.split("\r\n")
        sdp = "\r\n".join(f"{line[:-5]}AB:CD" if line.startswith("a=fingerprint:") else line for line in lines)
    request = urllib.request.Request(options.url, sdp.encode(), {"content-type": "application/sdp"})
    answer = await asyncio.to_thread(lambda: urllib.request.urlopen(request).read().decode())
    await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await asyncio.sleep(options.seconds)
    print(peer.connectionState, flush=True)
    await peer.close()


asyncio.run(main())
