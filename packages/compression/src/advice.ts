/** Fewer bodies prove nothing. */
const FEWEST_BODIES = 20
/** Less than this saved is not worth two headers and a decoder. */
const LEAST_SAVED_RATIO = 0.1
/**
 * A millisecond of a core should save at least so many bytes: 5 MB/s is what a 40 Mbit/s line
 * carries in the same time, so below it the line would have been quicker.
 */
const LEAST_SAVED_BYTES_PER_CPU_MS = 5000
/** Routes that send less than this a second need no advice. */
const LEAST_BYTES_MISSED = 100_000
const WORTHWHILE_RATIO = 0.3

/** What compression of one route with one encoding did, in some stretch of time. */
export interface Effect {
  readonly bodies: number
  readonly bytesBefore: number
  readonly bytesAfter: number
  readonly cpuMs: number
}

/** Why compression costs more than it saves, and what to do; `undefined` when it pays. */
export function costsMoreThanItSaves(effect: Effect): string | undefined {
  const { bodies, bytesBefore, bytesAfter, cpuMs } = effect
  if (bodies < FEWEST_BODIES || bytesBefore === 0) return undefined
  const saved = bytesBefore - bytesAfter
  if (saved < bytesBefore * LEAST_SAVED_RATIO) {
    return 'saves less than a tenth of the bytes: switch it off here with config.compression = false'
  }
  if (saved < cpuMs * LEAST_SAVED_BYTES_PER_CPU_MS) {
    return 'takes more time than a 40 Mbit/s line would for the bytes it saves: use a lower level'
  }
  return undefined
}

/**
 * Bytes that compression would have saved where it was not used; `undefined` when too few to tell.
 * @param savedRatio share that a trial saved
 */
export function missedBytes(bytes: number, savedRatio: number | undefined): number | undefined {
  if (bytes < LEAST_BYTES_MISSED || savedRatio === undefined || savedRatio < WORTHWHILE_RATIO) {
    return undefined
  }
  return bytes * savedRatio
}
