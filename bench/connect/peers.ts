import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import wrtc from '@roamhq/wrtc';
import { Dictionary, FormatContext, Packet } from 'node-av/lib';
import { encodeClip } from '../../testing/clip.ts';
import { ObsPeer } from '../../testing/peers/obs.ts';
import { WhipClient } from '../../testing/whip-client.ts';

/** WHIP clients of other makers that publish as soon as they may. */

export type Setup = 'actpass' | 'active' | 'passive';

export interface ConnectPeer {
  readonly name: string;
  readonly setups: readonly Setup[];
  /** @returns once it is sending; then how to end it */
  publish(url: string, setup: Setup): Promise<() => Promise<void>>;
}

const withSetup = (offer: string, setup: Setup) => offer.replaceAll('a=setup:actpass', `a=setup:${setup}`);
const ALL: readonly Setup[] = ['actpass', 'active', 'passive'];

export async function connectPeers(): Promise<{ peers: readonly ConnectPeer[]; close: () => void }> {
  const folder = mkdtempSync(join(tmpdir(), 'connect-'));
  const clip = join(folder, 'clip.mkv');
  const input = ['-f', 'lavfi', '-i', 'testsrc=size=320x180:rate=30', '-t', '1', '-pix_fmt', 'yuv420p'];
  execFileSync(ffmpeg.path, ['-v', 'error', ...input, '-c:v', 'libx264', '-profile:v', 'baseline', clip]);
  const frames = (await encodeClip({ codec: 'H264', seconds: 1 })).frames.map(({ data }) => data);
  return {
    peers: [libwebrtc(), obs(frames), ffmpegMuxer(clip)],
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** FFmpeg 8.1's muxer in node-av. It offers one role, never both. */
function ffmpegMuxer(clip: string): ConnectPeer {
  return {
    name: 'FFmpeg 8.1 (node-av)',
    setups: ['passive', 'active'],
    publish: async (url, setup) => {
      const [source, output, packet] = [new FormatContext(), new FormatContext(), new Packet()];
      packet.alloc();
      await source.openInput(clip);
      await source.findStreamInfo(null);
      output.allocOutputContext2(null, 'whip', url);
      const [from] = source.streams;
      if (from === undefined) throw new Error('no stream');
      const to = output.newStream(null);
      from.codecpar.copy(to.codecpar);
      to.timeBase = from.timeBase;
      const options = setup === 'active' ? { whip_flags: 'dtls_active' } : {};
      if ((await output.writeHeader(Dictionary.fromObject(options))) < 0) throw new Error('the muxer did not connect');
      for (let count = 0; count < 3 && (await source.readFrame(packet)) >= 0; count += 1) {
        packet.rescaleTs(from.timeBase, to.timeBase);
        await output.writeFrame(packet);
        packet.unref();
      }
      return async () => {
        await output.writeTrailer();
        output.freeContext();
        await source.closeInput();
        packet.free();
      };
    },
  };
}

/** Candidates in the offer; a picture every 10 ms, so that the table does not show its camera. */
function libwebrtc(): ConnectPeer {
  return {
    name: 'libwebrtc (@roamhq/wrtc)',
    setups: ALL,
    publish: async (url, setup) => {
      const source = new wrtc.nonstandard.RTCVideoSource();
      const track = source.createTrack();
      const peer = new wrtc.RTCPeerConnection({ iceServers: [] });
      peer.addTransceiver(track, { direction: 'sendonly', streams: [new wrtc.MediaStream([track])] });
      const picture = { width: 320, height: 180, data: new Uint8Array((320 * 180 * 3) / 2) };
      const camera = setInterval(() => source.onFrame(picture), 10);
      const gathered = new Promise<void>((resolve) => {
        peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && resolve();
      });
      await peer.setLocalDescription(await peer.createOffer());
      await gathered;
      const client = await WhipClient.post(url, withSetup(peer.localDescription?.sdp ?? '', setup));
      await peer.setRemoteDescription({ type: 'answer', sdp: client.answer });
      return async () => {
        await client.delete();
        clearInterval(camera);
        track.stop();
        peer.close();
      };
    },
  };
}

/** OBS's library and offer; a picture as soon as the track is open. */
function obs(frames: readonly Buffer[]): ConnectPeer {
  return {
    name: 'OBS (node-datachannel)',
    setups: ALL,
    publish: async (url, setup) => {
      const peer = new ObsPeer();
      const made: { client?: WhipClient } = {};
      await peer.start(async (offer) => {
        made.client = await WhipClient.post(url, withSetup(offer, setup));
        return made.client.answer;
      });
      frames.slice(0, 3).forEach((frame, index) => peer.sendVideo(frame, index * 3000));
      return async () => {
        await made.client?.delete();
        peer.close();
      };
    },
  };
}
