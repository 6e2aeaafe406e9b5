/**
 * A header of a request, from Node's list of names and values as they came. Reading
 * `request.headers` would make Node build its object of all headers, which many requests never need.
 *
 * @param name lower case
 */
export function rawHeader(rawHeaders: readonly string[], name: string): string | undefined {
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const given = rawHeaders[i]!
    if (given.length === name.length && given.toLowerCase() === name) return rawHeaders[i + 1]
  }
  return undefined
}
