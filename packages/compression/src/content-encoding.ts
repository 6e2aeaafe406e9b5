import type { Encoding } from './codecs.ts'

const LONGEST_HEADER = 256

/**
 * The encodings of a request body, in the order in which they were applied.
 *
 * @returns `undefined` when one is not supported or there are too many
 */
export function parseContentEncoding(
  header: string,
  supported: ReadonlySet<string>,
  most: number
): readonly Encoding[] | undefined {
  if (header.length > LONGEST_HEADER) return undefined
  const named = header
    .split(',')
    .map((member) => member.trim().toLowerCase())
    .filter((name) => name !== '' && name !== 'identity')
    .map((name) => (name === 'x-gzip' ? 'gzip' : name))
  const isSupported = named.length <= most && named.every((name) => supported.has(name))
  return isSupported ? (named as Encoding[]) : undefined
}
