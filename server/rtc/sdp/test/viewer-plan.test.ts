import { describe, expect, it } from 'vitest';
import { CHROMIUM_WATCH } from '../../../../testing/offers.ts';
import { codeOf, watch } from './material.ts';

describe('the answer to a viewer', () => {
  it('prefers H264 for the result, at the level the picture needs, and offers all codecs for the source', () => {
    const plan = watch(CHROMIUM_WATCH, { width: 768, height: 1408 });
    expect(plan.resultCodec).toBe('H264');
    const [result, source, audio] = ['result', 'source', 'audio'].map((id) => plan.tracks.get(id));
    const [h264] = result?.codecs ?? [];
    expect(h264?.parameters).toContain('profile-level-id=42e02a'); // 4224 macroblocks at 60 fps: level 4.2
    expect(h264?.feedback).toEqual(['goog-remb', 'nack', 'nack pli']);
    expect([...(source?.payloadTypes.keys() ?? [])].sort()).toEqual(['AV1', 'H264', 'VP8', 'VP9']);
    expect(audio?.codecs[0]?.name).toBe('opus');
    expect(result?.absoluteSendTimeId).toBe(2);
    const uris = (track: typeof source) => track?.extensions.map(({ uri }) => uri.split('/').at(-1));
    expect(uris(result)).toEqual(['abs-send-time']);
    expect(uris(source), 'the publisher’s colours are passed on').toEqual(['abs-send-time', 'color-space']);
    expect(source?.colourSpaceId).toBe(8);
  });

  it('falls back to VP8', () => {
    expect(watch(CHROMIUM_WATCH.replace(/H264\/90000/g, 'H265/90000')).resultCodec).toBe('VP8');
    expect(codeOf(() => watch(CHROMIUM_WATCH.replace(/(H264|VP8)\/90000/g, 'X/90000')))).toMatch(/neither H264/);
  });
});
