import { open, readFile, rename } from 'node:fs/promises';
import { crc32 } from 'node:zlib';

/**
 * What a model remembers behind a finished segment, on the disk: its bytes, then their CRC-32 (uint32, little-endian). A file of the
 * name is complete whatever ends the process.
 */

const CRC_BYTES = 4;

/** @param temporary in the same folder @throws the system's errors */
export async function writeMemory(file: string, temporary: string, memory: Uint8Array): Promise<void> {
  const sum = Buffer.alloc(CRC_BYTES);
  sum.writeUInt32LE(crc32(memory), 0);
  const handle = await open(temporary, 'w');
  try {
    await handle.writeFile(memory);
    await handle.writeFile(sum);
    await handle.datasync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}

/** @returns undefined for a file that is damaged or not there */
export async function readMemory(file: string): Promise<Uint8Array | undefined> {
  const bytes = await readFile(file).catch(() => undefined);
  if (bytes === undefined || bytes.length < CRC_BYTES) return undefined;
  const memory = bytes.subarray(0, -CRC_BYTES);
  return crc32(memory) === bytes.readUInt32LE(memory.length) ? memory : undefined;
}
