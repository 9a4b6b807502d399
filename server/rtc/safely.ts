/** What a parser of foreign bytes throws means that they are broken. @returns undefined then */
export function safely<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
