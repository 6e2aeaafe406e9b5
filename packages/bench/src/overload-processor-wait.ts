import { readFileSync } from 'node:fs'

/**
 * How long this process's main thread was ready to run and had no processor, since its start, in
 * milliseconds: somebody else had it. 0 where the system does not tell.
 */
export function processorWaitMs(): number {
  try {
    const [, waitNs] = readFileSync('/proc/self/schedstat', 'utf8').split(' ')
    return Number(waitNs) / 1e6
  } catch {
    return 0
  }
}
