/**
 * `npm run sbom [FILE]`: the software bill of materials of what a user installs (no development dependencies), as CycloneDX
 * JSON from the lock file by npm itself. npm knows nothing of what packages bundle: FFmpeg's libraries in node-av, ONNX Runtime's
 * shared library. Those are added by name and version where the package states them.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import process from 'node:process';

const root = new URL('../', import.meta.url);
const { name, version } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));
const file = process.argv[2] ?? `${name}-${version}.cdx.json`;
const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
const text = execFileSync(npm, ['sbom', '--sbom-format=cyclonedx', '--omit=dev', '--package-lock-only'], {
  cwd: root,
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
  stdio: ['ignore', 'pipe', 'inherit'],
});
const sbom = JSON.parse(text);

/** A library inside of a package, as that package's own metadata names it. */
function bundled(packageName, library, libraryVersion) {
  return {
    type: 'library',
    name: library,
    version: libraryVersion,
    'bom-ref': `${library}@${libraryVersion}`,
    description: `bundled in the npm package ${packageName}`,
  };
}

const require = createRequire(import.meta.url);
function packageJson(packageName) {
  const folder = new URL(`node_modules/${packageName}/package.json`, root);
  return existsSync(folder) ? require(folder.pathname) : undefined;
}

const onnxruntime = packageJson('onnxruntime-node');
if (onnxruntime !== undefined) sbom.components.push(bundled('onnxruntime-node', 'onnxruntime', onnxruntime.version));
const nodeAv = packageJson('node-av');
if (nodeAv?.ffmpegVersion !== undefined) sbom.components.push(bundled('node-av', 'ffmpeg', nodeAv.ffmpegVersion));

writeFileSync(file, `${JSON.stringify(sbom, undefined, 2)}\n`);
process.stdout.write(`${file}: CycloneDX ${sbom.specVersion}, ${sbom.components.length} components\n`);
