import type { InjectOptions } from 'fastify';
import { FakeSessions } from '../../../../testing/signaling/fake-sessions.ts';
import { offerText } from '../../../../testing/offers.ts';
import { whipEndpoints } from '../../../../testing/whip-endpoints.ts';

export const OFFER = offerText('rfc9725-example');
export const ANSWER = [
  'v=0',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111',
  'a=mid:0',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'a=mid:1',
  '',
].join('\r\n');
export const SDP = 'application/sdp';
export const FRAGMENT = 'application/trickle-ice-sdpfrag';

/** The endpoints over a domain without WebRTC; requests take no socket. */
export async function startWhip(settings: { http?: object; limits?: object } = {}) {
  const sessions = new FakeSessions();
  sessions.answer = ANSWER;
  const { app, table, refused } = await whipEndpoints(sessions, settings);
  const ask = (options: InjectOptions) => app.inject({ ...options, headers: { host: 'h', ...options.headers } });
  const post = (url: string, headers: Record<string, string> = {}, payload = OFFER) =>
    ask({ method: 'POST', url, payload, headers: { 'content-type': SDP, ...headers } });
  const patch = (url: string, payload: string, headers: Record<string, string> = {}) =>
    ask({ method: 'PATCH', url, payload, headers: { 'content-type': FRAGMENT, ...headers } });
  return { sessions, table, refused, ask, post, patch, close: () => app.close() };
}

/** Of the offer's ICE session. */
export const trickled = (candidate: string) =>
  `a=ice-ufrag:EsAw\r\na=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=${candidate}\r\n`;

export const RESTART = 'a=ice-ufrag:ysXw\r\na=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n';
