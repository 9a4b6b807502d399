import { describe, expect, it } from 'vitest';
import type { Rendition } from '../../media/types.ts';
import { KeyframeGate } from '../keyframe-gate.ts';

const key = (rendition: Rendition) => ({ keyframe: true, rendition });
const delta = (rendition: Rendition) => ({ keyframe: false, rendition });

function playing(): KeyframeGate {
  const gate = new KeyframeGate();
  gate.connected();
  gate.admits(key('full'));
  return gate;
}

describe('a decoder', () => {
  it('gets nothing before its connection is up, then a keyframe first', () => {
    const gate = new KeyframeGate();
    expect(gate.admits(key('full'))).toBe(false);
    expect(gate.renditions).toEqual([]);
    expect(gate.connected()).toBe(true);
    expect(gate.state).toEqual({ kind: 'waitingKeyframe', rendition: 'full' });
    expect(gate.admits(delta('full'))).toBe(false);
    expect(gate.admits(key('low'))).toBe(false);
    expect(gate.admits(key('full'))).toBe(true);
    expect(gate.admits(delta('full'))).toBe(true);
    expect(gate.state).toEqual({ kind: 'playing', rendition: 'full', wanted: 'full' });
  });

  it('changes rendition at a keyframe of the new one and needs both encoders until then', () => {
    const gate = playing();
    expect(gate.want('low')).toBe(true);
    expect(gate.want('low')).toBe(false);
    expect(gate.renditions).toEqual(['low', 'full']);
    expect(gate.admits(delta('low'))).toBe(false);
    expect(gate.admits(key('full'))).toBe(true);
    expect(gate.state).toEqual({ kind: 'playing', rendition: 'full', wanted: 'low' });
    expect(gate.admits(key('low'))).toBe(true);
    expect(gate.admits(delta('full'))).toBe(false);
    expect(gate.renditions).toEqual(['low']);
  });

  it('starts again at a keyframe after an interruption, and needs no encoder meanwhile', () => {
    const gate = playing();
    expect(gate.interrupted()).toBe(true);
    expect(gate.interrupted()).toBe(false);
    expect([gate.open, gate.renditions, gate.admits(key('full'))]).toEqual([false, [], false]);
    expect(gate.want('low')).toBe(false);
    expect(gate.connected()).toBe(true);
    expect(gate.connected(), 'a second report changes nothing').toBe(false);
    expect(gate.admits(delta('full'))).toBe(false);
    expect(gate.admits(key('full'))).toBe(true);
  });

  it('starts again in the rendition it was to have when the stream behind it restarts', () => {
    const gate = playing();
    gate.want('low');
    gate.restart();
    expect(gate.state).toEqual({ kind: 'waitingKeyframe', rendition: 'low' });
    expect(gate.admits(key('full'))).toBe(false);
    expect(gate.admits(key('low'))).toBe(true);
  });

  it('stays closed', () => {
    const gate = playing();
    gate.close();
    expect([gate.connected(), gate.interrupted(), gate.admits(key('full'))]).toEqual([false, false, false]);
    gate.restart();
    expect(gate.state).toEqual({ kind: 'closed' });
  });
});
