/** A configuration before it is checked: sections of anything. */
export type Tree = { [key: string]: unknown };

/** Text of the environment and of flags: JSON when it reads as JSON (numbers, booleans, lists), the text itself otherwise. */
export function parseText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

/** Sets `a.b.c` and makes the sections on the way. */
export function setPath(tree: Tree, path: string, value: unknown): void {
  const [head = '', ...rest] = path.split('.');
  if (rest.length === 0) {
    tree[head] = value;
    return;
  }
  const child = (tree[head] ??= {}) as Tree;
  setPath(child, rest.join('.'), value);
}

/** `over` wins, key by key. */
export function merge(base: Tree, over: Tree): Tree {
  const result: Tree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const both = isTree(result[key]) && isTree(value);
    result[key] = both ? merge(result[key] as Tree, value) : value;
  }
  return result;
}

export function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
