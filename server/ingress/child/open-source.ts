import { fileURLToPath } from 'node:url';
import { shownTarget, type CheckedTarget, type TargetPolicy } from '../../access/target-policy.ts';
import { AppError } from '../../errors.ts';
import { rtmpTcUrl } from '../../media/rtmp-url.ts';
import { openUrl, type Input } from './input.ts';
import type { PullJob } from './messages.ts';
import { openHls } from './open-hls.ts';
import { Tunnel } from './tunnel.ts';
import { RtspFilter, RtspRedirect } from './rtsp-filter.ts';
import { srtQuery } from './srt-query.ts';

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'rtsp:': 554, 'rtsps:': 322, 'rtmp:': 1935, 'rtmps:': 443 };
const RTSP_SCHEMES = ['rtsp:', 'rtsps:'];

/**
 * Opens a source by its scheme. Every network address is resolved and checked here; libav gets a tunnel's loopback port, bytes, or (SRT)
 * the checked address.
 * @throws AppError target.refused | target.unreachable | target.answer | file.unreadable | media.unsupported
 */
export async function openSource(job: PullJob, policy: TargetPolicy): Promise<Input> {
  const url = new URL(job.url);
  const { timeoutMs, maxPixels } = job;
  switch (url.protocol) {
    case 'file:':
      return await openFile(url);
    case 'rtsp:':
    case 'rtsps:':
      return await openRtsp(await policy.resolve(url, RTSP_SCHEMES), job, policy);
    case 'rtmp:':
    case 'rtmps:':
      return await openRtmp(await policy.resolve(url, [url.protocol]), timeoutMs);
    case 'srt:':
      return await openSrt(await policy.resolve(url, ['srt:']), timeoutMs);
    case 'http:':
    case 'https:':
      return await openHls(url, maxPixels, { policy, timeoutMs, credentialsFor: url });
    default:
      throw new AppError('target.refused', `Sources of the scheme ${url.protocol} are not known.`);
  }
}

async function openFile(url: URL): Promise<Input> {
  // As an address, so that a colon in a name is no protocol.
  const format = await openUrl(`file:${fileURLToPath(url)}`, { demuxer: undefined, protocols: ['file'] });
  return inputOf(format, true);
}

async function openRtsp(target: CheckedTarget, job: PullJob, policy: TargetPolicy): Promise<Input> {
  const { timeoutMs, transport } = job;
  const filter = new RtspFilter();
  const tunnel = await Tunnel.open(target, { ...addressOf(target), timeoutMs }, (chunk) => filter.push(chunk));
  try {
    const url = `rtsp://${userInfo(target.url)}127.0.0.1:${tunnel.port}${target.url.pathname}${target.url.search}`;
    const format = await openUrl(url, {
      demuxer: 'rtsp',
      protocols: transport === 'udp' ? ['tcp', 'rtp', 'udp'] : ['tcp'],
      options: { rtsp_transport: transport, timeout: String(timeoutMs * 1000) },
      failure: () => tunnel.failure,
    });
    return inputOf(format, false, tunnel);
  } catch (error) {
    tunnel.close();
    if (!(error instanceof RtspRedirect)) throw error;
    return await openRtsp(await policy.redirect(target, error.location, RTSP_SCHEMES), job, policy);
  }
}

async function openRtmp(target: CheckedTarget, timeoutMs: number): Promise<Input> {
  const { url } = target;
  const tunnel = await Tunnel.open(target, { ...addressOf(target), timeoutMs });
  try {
    const format = await openUrl(`rtmp://${userInfo(url)}127.0.0.1:${tunnel.port}${url.pathname}${url.search}`, {
      demuxer: 'flv',
      protocols: ['rtmp', 'tcp'],
      options: { rtmp_tcurl: rtmpTcUrl(url), rtmp_live: 'live', rw_timeout: String(timeoutMs * 1000) },
      failure: () => tunnel.failure,
    });
    return inputOf(format, false, tunnel);
  } catch (error) {
    tunnel.close();
    throw error;
  }
}

async function openSrt(target: CheckedTarget, timeoutMs: number): Promise<Input> {
  const { url, addresses } = target;
  if (url.port === '') throw new AppError('target.refused', `The target ${shownTarget(url)} has no port.`);
  const [address] = addresses;
  const host = address.includes(':') ? `[${address}]` : address;
  const format = await openUrl(`srt://${host}:${url.port}?${srtQuery(url, timeoutMs)}`, {
    demuxer: 'mpegts',
    protocols: ['srt'],
  });
  return inputOf(format, false);
}

function inputOf(format: Input['formats'][number], paced: boolean, tunnel?: Tunnel): Input {
  const close = async (): Promise<void> => {
    await format.closeInput();
    tunnel?.close();
  };
  const failure = (): AppError | undefined => tunnel?.failure;
  return { formats: [format], paced, notices: [], failure, stop: () => format.interrupt(), close };
}

function addressOf({ url }: CheckedTarget): { port: number; secure: boolean } {
  const port = url.port === '' ? (DEFAULT_PORTS[url.protocol] ?? 0) : Number(url.port);
  return { port, secure: url.protocol.endsWith('s:') };
}

function userInfo({ username, password }: URL): string {
  return username === '' ? '' : `${username}${password === '' ? '' : `:${password}`}@`;
}
