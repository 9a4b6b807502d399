import { configSchema } from '../server/config/config.ts';
import type { RtcOptions } from '../server/rtc/peers.ts';

/** The defaults of the server's settings, on loopback only. */
export function testRtcOptions(changes: Partial<RtcOptions> = {}): RtcOptions {
  const { ice, media } = configSchema.parse({});
  return { ...ice, ...media, interfaceAddresses: ['127.0.0.1'], ...changes };
}
