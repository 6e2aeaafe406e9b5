/** Whether a route's pattern is one of `patterns`; a `*` at the end of one stands for anything. */
export function pathFilter(patterns: readonly string[]): (url: string) => boolean {
  const exact = new Set(patterns.filter((pattern) => !pattern.endsWith('*')))
  const prefixes = patterns.filter((pattern) => pattern.endsWith('*')).map((p) => p.slice(0, -1))
  return (url) => exact.has(url) || prefixes.some((prefix) => url.startsWith(prefix))
}
