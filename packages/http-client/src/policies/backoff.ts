export interface BackoffOptions {
  /** Longest wait before the first retry; it doubles with each. */
  readonly baseMs: number
  /** Longest wait of all. */
  readonly maxMs: number
}

/**
 * How long to wait before a retry: anything from 0 to `min(maxMs, baseMs * 2 ** (attempt - 1))`,
 * all equally likely, so that callers which failed together don't come back together.
 *
 * @param attempt attempts made so far, from 1
 * @param random from 0 to below 1, such as `Math.random`
 * @returns milliseconds
 * @see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function fullJitter(
  attempt: number,
  { baseMs, maxMs }: BackoffOptions,
  random: () => number
): number {
  // 2 ** 1024 is Infinity, and 0 * Infinity is no number
  const doublings = Math.min(Math.max(attempt - 1, 0), 1000)
  return random() * Math.min(maxMs, baseMs * 2 ** doublings)
}

/** A `Retry-After` that asks for more is taken as this: far above what any caller waits. */
export const MAX_RETRY_AFTER_MS = 86_400_000

const SECONDS = /^\d{1,15}(?:\.\d{1,9})?$/
const MONTHS = 'JanFebMarAprMayJunJulAugSepOctNovDec'
/** The three forms of RFC 9110 section 5.6.7: today's, and the two old ones a server may send. */
const DATES = [
  /^[A-Za-z]{3}, (?<day>\d\d) (?<month>[A-Z][a-z]{2}) (?<year>\d{4}) (?<time>\d\d:\d\d:\d\d) GMT$/,
  /^[A-Za-z]{6,9}, (?<day>\d\d)-(?<month>[A-Z][a-z]{2})-(?<year>\d\d) (?<time>\d\d:\d\d:\d\d) GMT$/,
  /^[A-Za-z]{3} (?<month>[A-Z][a-z]{2}) (?<day>[ \d]\d) (?<time>\d\d:\d\d:\d\d) (?<year>\d{4})$/
]

/**
 * How long an upstream asks to be left alone: seconds, or a date as RFC 9110 writes it.
 * Fractions of seconds, which are not in the standard but are sent, are understood.
 *
 * @param nowEpochMs by the wall clock. Better by the `date` header of the same answer, where there
 *   is one: then it does not matter that the clocks differ.
 * @returns milliseconds from 0 to {@link MAX_RETRY_AFTER_MS}; `undefined` when nothing sensible was sent
 */
export function retryAfterMs(
  headerValue: string | undefined,
  nowEpochMs: number
): number | undefined {
  const value = headerValue?.trim()
  if (!value || value.length > 40) return undefined
  if (SECONDS.test(value)) return Math.min(Number(value) * 1000, MAX_RETRY_AFTER_MS)
  const atMs = httpDateMs(value, nowEpochMs)
  if (atMs === undefined) return undefined
  return Math.min(Math.max(0, atMs - nowEpochMs), MAX_RETRY_AFTER_MS)
}

/** Not `Date.parse`, which takes "1" for a year and dates without a zone for local. */
function httpDateMs(value: string, nowEpochMs: number): number | undefined {
  for (const form of DATES) {
    const groups = form.exec(value)?.groups
    if (groups !== undefined) return dateOf(groups, nowEpochMs)
  }
  return undefined
}

function dateOf(groups: Record<string, string>, nowEpochMs: number): number | undefined {
  const { day = '', month = '', year = '', time = '' } = groups
  const [hour = 0, minute = 0, second = 0] = time.split(':').map(Number)
  const monthAt = MONTHS.indexOf(month)
  if (monthAt < 0 || hour > 23 || minute > 59 || second > 60) return undefined
  const fullYear = year.length === 2 ? nearCentury(Number(year), nowEpochMs) : Number(year)
  const midnight = Date.UTC(fullYear, monthAt / 3, Number(day))
  // 31 February is none
  if (new Date(midnight).getUTCDate() !== Number(day)) return undefined
  return midnight + ((hour * 60 + minute) * 60 + second) * 1000
}

/** RFC 9110: two digits that would be more than 50 years ahead are of the past. */
function nearCentury(digits: number, nowEpochMs: number): number {
  const thisYear = new Date(nowEpochMs).getUTCFullYear()
  const year = thisYear - (thisYear % 100) + digits
  return year > thisYear + 50 ? year - 100 : year
}
