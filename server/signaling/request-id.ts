const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
/** From the key to the end of its number, white space included. */
const MEMBER_BYTES = 64;
const MEMBER = /^"id"[ \t\r\n]*:[ \t\r\n]*(\d{1,16})[ \t\r\n]*[,}]/;

/**
 * The `id` of a request that cannot be parsed or is not worth parsing (cut off, too deep, too large, one too many), so that the
 * error reaches the caller that waits for this id: the first member `id` of the outermost object.
 *
 * One pass over the bytes, which the caller bounds; nothing is built.
 * @returns undefined when there is none, or none that is an integer from 0
 */
export function findRequestId(json: Buffer): number | undefined {
  let depth = 0;
  let inString = false;
  for (let index = 0; index < json.length; index += 1) {
    const byte = json[index] as number;
    if (inString) {
      if (byte === BACKSLASH) index += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) {
      if (depth === 1 && json[index + 3] === QUOTE) {
        const member = MEMBER.exec(json.toString('latin1', index, index + MEMBER_BYTES));
        if (member !== null) return safeInteger(member[1]);
      }
      inString = true;
    } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
      depth += 1;
    } else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth -= 1;
    }
  }
  return undefined;
}

function safeInteger(digits: string | undefined): number | undefined {
  const id = Number(digits);
  return Number.isSafeInteger(id) ? id : undefined;
}
