import { expect, it } from 'vitest';
import { describePixelFormat } from '../pixel-format.ts';

it('reads what a pixel format holds from its name', () => {
  const of = (name: string): string => {
    const { rgb, alpha, depth, planar } = describePixelFormat(name);
    return `${rgb ? 'rgb' : 'yuv'}${alpha ? ' alpha' : ''}${planar ? ' planar' : ''} ${depth}`;
  };
  expect(of('yuv420p')).toBe('yuv planar 8');
  expect(of('yuvj422p')).toBe('yuv planar 8');
  expect(of('yuva444p12le')).toBe('yuv alpha planar 12');
  expect(of('gray')).toBe('yuv planar 8');
  expect(of('gray10le')).toBe('yuv planar 10');
  expect(of('nv12')).toBe('yuv planar 8');
  expect(of('p010le')).toBe('yuv planar 10');
  expect(of('yuyv422')).toBe('yuv 8');
  expect(of('gbrap10le')).toBe('rgb alpha 10');
  expect(of('rgb24')).toBe('rgb 8');
  expect(of('bgra')).toBe('rgb alpha 8');
  expect(of('0rgb')).toBe('rgb 8');
  expect(of('rgb48be')).toBe('rgb 16');
  expect(of('x2rgb10le')).toBe('rgb 10');
  expect(of('pal8')).toBe('rgb alpha 8');
});
