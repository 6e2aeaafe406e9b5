const LONGEST_HEADER = 8192

/** A tag that says "the same meaning", not "the same bytes": each encoding has bytes of its own. */
export function weakened(tag: string): string {
  return tag.startsWith('W/') ? tag : `W/${tag}`
}

/** A weak tag from the digest of a body. */
export function tagOf(digest: string): string {
  return `W/"${digest.slice(0, 27)}"`
}

/**
 * Whether `If-None-Match` names a tag, by weak comparison. Linear in the length of the header, of
 * which at most 8 KB are read.
 *
 * @see RFC 9110, 13.1.2
 */
export function noneMatchNames(header: string, tag: string): boolean {
  if (header.trim() === '*') return true
  const opaque = tag.startsWith('W/') ? tag.slice(2) : tag
  const text = header.length > LONGEST_HEADER ? header.slice(0, LONGEST_HEADER) : header
  let from = text.indexOf('"')
  while (from !== -1) {
    const to = text.indexOf('"', from + 1)
    if (to === -1) return false
    if (to - from + 1 === opaque.length && text.startsWith(opaque, from)) return true
    from = text.indexOf('"', to + 1)
  }
  return false
}
