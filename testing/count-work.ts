/**
 * Counts what a function does instead of timing it: for built-ins that go through their input the elements they touch, and
 * one for each operation on a map, a set or a buffer. Equal input gives equal counts on every machine and under every load,
 * so a test that asserts "linear" cannot flake. Loops that call no built-in are not seen: parsers have none over their input.
 */

type Method = (this: unknown, ...args: unknown[]) => unknown;
type Cost = (self: unknown, args: readonly unknown[]) => number;

const lengthOf = (value: unknown): number => {
  const { length, size } = (value ?? {}) as { length?: unknown; size?: unknown };
  if (typeof length === 'number') return length;
  return typeof size === 'number' ? size : 1;
};
/** A list of buffers: their bytes and the list itself. */
const bytesOf = (value: unknown): number => {
  if (!Array.isArray(value)) return lengthOf(value);
  let bytes = value.length;
  for (const part of value) bytes += typeof part === 'object' ? lengthOf(part) : 0;
  return bytes;
};
const one: Cost = () => 1;
const ownLength: Cost = (self) => lengthOf(self);
const argumentCount: Cost = (_, args) => args.length;
const firstLength: Cost = (_, args) => bytesOf(args[0]);

const COSTS: readonly (readonly [object, readonly string[], Cost])[] = [
  [
    Array.prototype,
    ['includes', 'indexOf', 'find', 'findIndex', 'some', 'every', 'filter', 'map', 'flatMap'],
    ownLength,
  ],
  [Array.prototype, ['slice', 'splice', 'shift', 'unshift', 'concat', 'join', 'forEach', 'reduce', 'fill'], ownLength],
  [Array.prototype, ['sort'], (self) => lengthOf(self) * Math.ceil(Math.log2(lengthOf(self) + 1))],
  [Array.prototype, ['push'], argumentCount],
  [Array, ['from'], firstLength],
  [Map.prototype, ['get', 'set', 'has', 'delete'], one],
  [Map.prototype, ['clear'], ownLength],
  [Set.prototype, ['has', 'add', 'delete'], one],
  [Set.prototype, ['clear'], ownLength],
  [
    String.prototype,
    ['split', 'includes', 'indexOf', 'toLowerCase', 'toUpperCase', 'replace', 'replaceAll', 'trim'],
    ownLength,
  ],
  [String.prototype, ['startsWith'], one],
  // A sticky search looks at one place: split() makes one for each character.
  [RegExp.prototype, ['exec'], (self, args) => ((self as RegExp).sticky ? 1 : lengthOf(args[0]))],
  [Buffer, ['concat', 'from'], firstLength],
  [Buffer, ['alloc', 'allocUnsafe'], one],
  [Buffer.prototype, ['readUInt16BE', 'readUInt32BE', 'readIntBE', 'writeUInt16BE', 'subarray'], one],
  [Uint8Array, ['from'], firstLength],
  [Math, ['max', 'min'], argumentCount],
];

/** @returns the work of one synchronous call; what runs after it has returned is not counted */
export function countWork(run: () => unknown): number {
  let work = 0;
  const restore: (() => void)[] = [];
  for (const [owner, names, cost] of COSTS) {
    for (const name of names) {
      const own = Object.getOwnPropertyDescriptor(owner, name);
      const methods = owner as Record<string, Method>;
      const original = methods[name] as Method;
      methods[name] = function (...args) {
        work += cost(this, args);
        return original.apply(this, args);
      };
      restore.push(() => {
        if (own === undefined) delete methods[name];
        else Object.defineProperty(owner, name, own);
      });
    }
  }
  try {
    run();
  } finally {
    for (const undo of restore) undo();
  }
  return work;
}
