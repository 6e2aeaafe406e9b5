import { randomBytes, randomInt } from 'node:crypto'

const HEADER_BYTES = 10
const FLAGS_AT = 3
const HAS_COMMENT = 0x10

/**
 * A gzip file with a comment of random length in its header, so that its length tells less about
 * what it holds. It slows somebody down who measures lengths; it does not stop them.
 *
 * @param gzipped made by zlib: with no optional fields in its header
 * @see Palacios et al., "HTB: A Very Effective Method to Protect Web Servers Against BREACH Attack", IEEE Access 2022
 */
export function padded(gzipped: Buffer, maxPaddingBytes: number): Buffer {
  const length = randomInt(1, maxPaddingBytes + 1)
  const comment = randomBytes(length)
  for (let i = 0; i < length - 1; i++) comment[i] = (comment[i]! & 0x3f) | 0x40
  comment[length - 1] = 0
  const header = Buffer.from(gzipped.subarray(0, HEADER_BYTES))
  header[FLAGS_AT] = header[FLAGS_AT]! | HAS_COMMENT
  return Buffer.concat([header, comment, gzipped.subarray(HEADER_BYTES)])
}
