import { FF_ENCODER_LIBSVTAV1 } from 'node-av/constants';
import type { AccessUnit } from '../server/media/types.ts';
import { encodeLowDelay } from './low-delay-encoder.ts';

/** SVT-AV1 prints its settings otherwise; errors alone are 1. */
process.env['SVT_LOG'] = '1';

/** A low-delay stream: temporal units with delimiter, the sequence header on keyframes. */
export function makeAv1Stream(width: number, height: number, frames: number, keyframeInterval = 300): AccessUnit[] {
  const options = { preset: '12', 'svtav1-params': 'pred-struct=1:lookahead=0:rc=0:lp=1' };
  return encodeLowDelay({
    ...{ encoder: FF_ENCODER_LIBSVTAV1, codec: 'AV1', options },
    ...{ width, height, frames, keyframeInterval },
  });
}
