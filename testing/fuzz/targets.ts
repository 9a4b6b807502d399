import { DTLS_TARGETS } from './dtls.ts';
import type { FuzzTarget } from './fuzz.ts';
import { MEDIA_TARGETS } from './media.ts';
import { SDP } from './sdp.ts';
import { SIGNALING_TARGETS } from './signaling.ts';
import { STUN_TARGETS } from './stun.ts';

/** Everything that reads bytes of strangers. A unit test runs each for a moment; `npm run fuzz` for as long as it should. */
export const TARGETS: readonly FuzzTarget[] = [
  SDP,
  ...SIGNALING_TARGETS,
  ...STUN_TARGETS,
  ...DTLS_TARGETS,
  ...MEDIA_TARGETS,
];
