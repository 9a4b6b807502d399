import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { openFilesLimit } from '../../open-files.ts';
import { isPublicAddress, ownAddresses, probeIceServer } from '../../rtc/ice/probe.ts';
import { listDevices, type DeviceReport } from '../../upscalers/flashvsr/binding.ts';
import { gpuPossible } from '../../upscalers/onnx/gpu-name.ts';
import { probeGpu } from '../../upscalers/onnx/gpu-probe/probe-gpu.ts';

/** What the checks ask of the machine; tests give another one. */
export interface Machine {
  readonly nowMs: () => number;
  /** Of this process; undefined where the system does not say. */
  readonly openFiles: () => number | undefined;
  /** By the system's own judgement; undefined where it has none. */
  readonly clockSynchronised: () => Promise<boolean | undefined>;
  /** Of the native engine. @throws AppError engine.unavailable */
  readonly devices: () => Promise<readonly DeviceReport[]>;
  /** The driver of an NVIDIA card is loaded. */
  readonly nvidiaDriver: () => boolean;
  readonly gpuPossible: () => boolean;
  readonly probeGpu: typeof probeGpu;
  /** @throws the system's error */
  readonly freeBytes: (folder: string) => Promise<number>;
  /** Addresses of its interfaces, without loopback. */
  readonly addresses: () => readonly string[];
  /** One that the internet reaches, whether or not it is the machine's own. */
  readonly isPublic: (address: string) => boolean;
  readonly probeIceServer: typeof probeIceServer;
}

const TIMEDATECTL = ['show', '--property=NTPSynchronized', '--value'];

export const THIS_MACHINE: Machine = {
  nowMs: Date.now,
  openFiles: () => openFilesLimit(),
  clockSynchronised: () =>
    new Promise((resolve) => {
      execFile('timedatectl', TIMEDATECTL, { timeout: 3000 }, (error, output) => {
        const answer = output.trim();
        resolve(error === null && (answer === 'yes' || answer === 'no') ? answer === 'yes' : undefined);
      });
    }),
  devices: () => listDevices(process.env['FLASHVSR_CUDA_LIBRARY']),
  nvidiaDriver: () => existsSync('/dev/nvidiactl'),
  gpuPossible: () => gpuPossible(),
  probeGpu,
  freeBytes: async (folder) => {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  },
  addresses: ownAddresses,
  isPublic: isPublicAddress,
  probeIceServer,
};
