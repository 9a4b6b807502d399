import { spawnSync } from 'node:child_process';

/**
 * The Python of training/ as far as this machine can check it: style (flake8, which Debian has; ruff is in no Debian 12), the tests that
 * need numpy alone, the tests of the networks. What is left out is printed.
 */

const PYTHONS = [process.env['PYTHON'], 'python3', '/usr/bin/python3'].filter((name) => name !== undefined);

/** The first Python that imports all of these. */
function pythonWith(modules: readonly string[]): string | undefined {
  return PYTHONS.find((python) => spawnSync(python, ['-c', `import ${modules.join(', ')}`]).status === 0);
}

interface Step {
  readonly what: string;
  readonly modules: readonly string[];
  readonly args: readonly string[];
  readonly packages: string;
}

const STEPS: readonly Step[] = [
  { what: 'style', modules: ['flake8'], args: ['-m', 'flake8', '.'], packages: 'python3-flake8' },
  {
    what: 'tests without PyTorch',
    modules: ['numpy'],
    args: ['-m', 'unittest', 'discover', '-s', 'training', '-p', 'test_resampling.py'],
    packages: 'python3-numpy',
  },
  {
    what: 'tests of the networks',
    modules: ['torch', 'onnx', 'cv2'],
    args: ['-m', 'unittest', 'discover', '-s', 'training'],
    packages: 'python3-torch python3-onnx python3-opencv',
  },
];

let failed = false;
for (const { what, modules, args, packages } of STEPS) {
  const python = pythonWith(modules);
  if (python === undefined) {
    console.log(`skipped  Python, ${what}: no Python with ${modules.join(', ')} here (apt-get install ${packages})`);
    continue;
  }
  console.log(`Python, ${what}:`);
  const { status } = spawnSync(python, args, { stdio: 'inherit' });
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
