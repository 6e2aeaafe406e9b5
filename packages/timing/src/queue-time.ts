/** Longer than this is a clock that is off, not a queue. */
const LONGEST_SECONDS = 600

/**
 * Time a request waited in front of us, from a proxy's `X-Request-Start`: seconds, milliseconds or
 * microseconds since 1970, with or without `t=`.
 *
 * @param nowMs milliseconds since 1970
 * @returns seconds; `undefined` when the header makes no sense
 */
export function queueSeconds(header: string, nowMs: number): number | undefined {
  const match = /^(?:t=)?(\d{9,16}(?:\.\d{1,9})?)$/.exec(header.trim())
  if (match === null) return undefined
  const seconds = nowMs / 1000 - toSeconds(Number(match[1]))
  if (seconds < 0 && seconds > -1) return 0
  return seconds >= 0 && seconds <= LONGEST_SECONDS ? seconds : undefined
}

/** The unit is told by the magnitude: these hold until the year 2286. */
function toSeconds(value: number): number {
  if (value > 1e14) return value / 1e6
  return value > 1e11 ? value / 1e3 : value
}
