import { readdirSync, readFileSync } from 'node:fs';

/** onnxruntime does not say which adapter WebGPU took; this is what the machine shows of its GPUs. */

const VENDORS: Readonly<Record<string, string>> = {
  '0x10de': 'NVIDIA',
  '0x1002': 'AMD',
  '0x8086': 'Intel',
  '0x106b': 'Apple',
};

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** A Vulkan loader is worth asking: a device node is there, or the caller names a driver (a software one, say). */
export function gpuPossible(platform = process.platform, env = process.env, folder = '/dev'): boolean {
  if (platform !== 'linux') return true;
  if (env['VK_DRIVER_FILES'] !== undefined || env['VK_ICD_FILENAMES'] !== undefined) return true;
  return list(folder).includes('nvidiactl') || list(`${folder}/dri`).some((name) => name.startsWith('renderD'));
}

/** "NVIDIA H200 (WebGPU)", "AMD GPU (WebGPU)", ... */
export function gpuName(platform = process.platform, root = ''): string {
  const api = platform === 'darwin' ? 'WebGPU over Metal' : platform === 'win32' ? 'WebGPU over Direct3D 12' : 'WebGPU';
  return `${(platform === 'linux' ? linuxName(root) : undefined) ?? 'GPU'} (${api})`;
}

function linuxName(root: string): string | undefined {
  const nvidia = `${root}/proc/driver/nvidia/gpus`;
  for (const slot of list(nvidia)) {
    const model = /^Model:\s*(.+?)\s*$/m.exec(read(`${nvidia}/${slot}/information`))?.[1];
    if (model !== undefined) return model;
  }
  const cards = `${root}/sys/class/drm`;
  for (const card of list(cards).filter((name) => /^card\d+$/.test(name))) {
    const vendor = VENDORS[read(`${cards}/${card}/device/vendor`).trim()];
    if (vendor !== undefined) return `${vendor} GPU`;
  }
  return undefined;
}
