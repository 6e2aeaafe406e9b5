import { PerformanceObserver, constants } from 'node:perf_hooks'
import type { PerformanceEntry } from 'node:perf_hooks'

export type GcKind = 'minor' | 'major' | 'incremental' | 'weakcb' | 'unknown'

const KINDS: ReadonlyMap<number, GcKind> = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb']
])

/**
 * Reports every garbage collection. Entries come several to a callback, and all of them count.
 * @param onPause kind, and pause in seconds
 * @returns stops it, after reporting what was still queued
 */
export function observeGc(onPause: (kind: GcKind, seconds: number) => void): () => void {
  const report = (entries: readonly PerformanceEntry[]): void => {
    for (const entry of entries) {
      const { detail } = entry as PerformanceEntry & { detail?: { kind?: number } }
      onPause(KINDS.get(detail?.kind ?? -1) ?? 'unknown', entry.duration / 1000)
    }
  }
  const observer = new PerformanceObserver((list) => report(list.getEntries()))
  observer.observe({ entryTypes: ['gc'] })
  return () => {
    report(observer.takeRecords())
    observer.disconnect()
  }
}
