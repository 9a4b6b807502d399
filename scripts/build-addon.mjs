// Builds the native addon (native/addon -> build/addon/Release/flashvsr.node). Run by npm after an install and by
// `npm run build:addon`. An install never fails because of it: without a compiler there is one line and the server runs
// with the other models.
//
//   --verbose                   show the compiler's output (otherwise: build/addon/build.log)
//   --force                     build although nothing changed
//   FLASHVSR_REQUIRE_ADDON=1    fail when it cannot be built (CI, images)
//   FLASHVSR_SKIP_ADDON=1       do nothing
//   FLASHVSR_CUDA=1             build the CUDA library beside it too (needs nvcc)
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, totalmem } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const output = path.join(root, 'build', 'addon');
const addon = path.join(output, 'Release', 'flashvsr.node');
const stampFile = path.join(output, 'stamp');
const logFile = path.join(output, 'build.log');
const require = createRequire(import.meta.url);

const verbose = process.argv.includes('--verbose');
const cuda = process.env.FLASHVSR_CUDA === '1';
const required = process.env.FLASHVSR_REQUIRE_ADDON === '1';

function giveUp(reason) {
  console.warn(`FlashVSR engine not built: ${reason}. Other models work; build it later with: npm run build:addon`);
  process.exit(required ? 1 : 0);
}

function runs(command) {
  return spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Every file that ends up in the addon. Tests, tools and fuzzing are not part of it. */
function sources() {
  const folders = ['addon', 'backend', 'common', 'engine', 'weights', cuda ? '../kernels' : '../kernels/common'];
  const files = folders
    .map((folder) => path.join(root, 'native', folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && /\.(cpp|cu|cuh|h)$|^CMakeLists\.txt$/.test(entry.name))
        .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name)),
    )
    .filter((file) => !/[\\/](test|fuzz)[\\/]/.test(file) && (cuda || !/[\\/]backend[\\/]cuda[\\/]/.test(file)));
  return [path.join(root, 'native', 'CMakeLists.txt'), ...files].sort();
}

/** Changes when the addon must be built again: sources, headers it was built against, machine, options. */
function stamp() {
  const hash = createHash('sha256');
  const packages = ['node-addon-api', 'node-api-headers'].map((name) => {
    try {
      return require(`${name}/package.json`).version;
    } catch {
      return 'missing';
    }
  });
  hash.update(JSON.stringify([process.platform, process.arch, cuda, process.env.CXX ?? '', ...packages]));
  for (const file of sources()) hash.update(path.relative(root, file)).update('\0').update(readFileSync(file));
  return hash.digest('hex');
}

/** cmake-js with Node-API headers from npm (native/package.json says so): nothing is downloaded, any Node runs the result. */
function build() {
  let cmakeJs;
  try {
    cmakeJs = require.resolve('cmake-js/bin/cmake-js');
  } catch {
    giveUp('the package cmake-js is not installed');
  }
  // A translation unit takes up to 1 GB; small machines must not start to swap.
  const parallel = Math.max(1, Math.min(availableParallelism(), Math.floor(totalmem() / 2 ** 30)));
  const flags = ['--CDFLASHVSR_TOOLS=OFF', '--CDFLASHVSR_ADDON=ON', `--CDFLASHVSR_CUDA=${cuda ? 'ON' : 'OFF'}`];
  const log = verbose ? 'inherit' : openSync(logFile, 'w');
  const { status } = spawnSync(
    process.execPath,
    [cmakeJs, 'compile', '-d', path.join(root, 'native'), '-O', output, '-p', String(parallel), ...flags],
    // The toolchain's node-gyp settings are not ours: a nodedir of another Node must not matter.
    { cwd: root, stdio: ['ignore', log, log] },
  );
  if (typeof log === 'number') closeSync(log);
  return status === 0 && existsSync(addon);
}

function main() {
  if (process.env.FLASHVSR_SKIP_ADDON === '1') return;
  if (!existsSync(path.join(root, 'native', 'CMakeLists.txt'))) giveUp('the folder native/ is not here');
  const wanted = stamp();
  const built = existsSync(stampFile) && existsSync(addon) ? readFileSync(stampFile, 'utf8') : '';
  if (built === wanted && !process.argv.includes('--force')) {
    if (verbose) console.log(`${path.relative(root, addon)} is up to date`);
    return;
  }
  const missing = [
    ...(runs('cmake') ? [] : ['CMake']),
    ...([process.env.CXX, 'c++', 'g++', 'clang++'].some((compiler) => compiler && runs(compiler))
      ? []
      : ['a C++20 compiler']),
  ];
  if (missing.length > 0) giveUp(`${missing.join(' and ')} not found (Debian: apt-get install cmake g++)`);
  mkdirSync(output, { recursive: true });
  const startedAt = Date.now();
  if (!build()) {
    if (required && !verbose) console.error(readFileSync(logFile, 'utf8').split('\n').slice(-40).join('\n'));
    giveUp(`the compiler reported errors${verbose ? '' : `, see ${path.relative(root, logFile)}`}`);
  }
  writeFileSync(stampFile, wanted);
  console.log(`FlashVSR engine built in ${Math.round((Date.now() - startedAt) / 1000)} s`);
}

main();
