/** What PageStore needs of a Storage, kept in `map`. */
export function memoryStorage(map = new Map<string, string>()): Storage {
  return {
    getItem: (key: string) => map.get(key) ?? null,
    setItem: (key: string, value: string) => void map.set(key, value),
    removeItem: (key: string) => void map.delete(key),
  } as unknown as Storage;
}
