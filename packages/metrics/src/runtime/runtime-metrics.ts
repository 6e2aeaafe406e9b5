import { getHeapStatistics } from 'node:v8'
import type { Vitals } from '../vitals.ts'
import { containerMemoryLimit, cpuQuotaCores } from './cgroup.ts'
import { CpuUsage } from './cpu.ts'
import { DiskMonitor } from './disk.ts'
import { EventLoopMonitor } from './event-loop.ts'
import { observeGc } from './gc.ts'
import type { GcKind } from './gc.ts'

/** @see https://opentelemetry.io/docs/specs/semconv/runtime/v8js-metrics/ */
const GC_BUCKETS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]

/** What is known of the process besides its requests. All in bytes, seconds and ratios. */
export interface RuntimeSample {
  readonly memory: Readonly<Record<MemoryType, number>>
  readonly cpuRatio: number
  readonly cpuQuotaCores: number
  readonly containerMemoryLimit: number | undefined
  readonly loop: EventLoopMonitor['last']
  readonly resources: Readonly<Record<string, number>>
  readonly disks: DiskMonitor['usage']
}

type MemoryType = 'rss' | 'heap_used' | 'heap_total' | 'heap_limit' | 'external' | 'array_buffers'

/** Watches the process: memory, processor, garbage collection, event loop, handles, disk. */
export class RuntimeMonitor {
  readonly #loop = new EventLoopMonitor()
  readonly #cpu: CpuUsage
  readonly #disk: DiskMonitor
  readonly quotaCores: number = cpuQuotaCores()
  readonly #stopGc: () => void

  constructor(
    diskPaths: readonly string[],
    now: () => number,
    onPause: (kind: GcKind, seconds: number) => void
  ) {
    this.#cpu = new CpuUsage(this.quotaCores, now)
    this.#disk = new DiskMonitor(diskPaths)
    this.#stopGc = observeGc(onPause)
  }

  /** Ends an interval of everything that is measured between two looks. */
  async sample(nowMs: number): Promise<void> {
    this.#loop.sample()
    this.#cpu.sample()
    await this.#disk.sample(nowMs)
  }

  read(): RuntimeSample {
    return {
      memory: memoryUsage(),
      cpuRatio: this.#cpu.ratio,
      cpuQuotaCores: this.quotaCores,
      containerMemoryLimit: containerMemoryLimit(),
      loop: this.#loop.last,
      resources: activeResources(),
      disks: this.#disk.usage
    }
  }

  get loop(): EventLoopMonitor['last'] {
    return this.#loop.last
  }

  get cpuRatio(): number {
    return this.#cpu.ratio
  }

  get disks(): DiskMonitor['usage'] {
    return this.#disk.usage
  }

  close(): void {
    this.#loop.close()
    this.#stopGc()
  }
}

export function memoryUsage(): Record<MemoryType, number> {
  const { rss, heapUsed, heapTotal, external, arrayBuffers } = process.memoryUsage()
  return {
    rss,
    heap_used: heapUsed,
    heap_total: heapTotal,
    heap_limit: getHeapStatistics().heap_size_limit,
    external,
    array_buffers: arrayBuffers
  }
}

/** Open handles and requests under way, by libuv's names. */
function activeResources(): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const type of process.getActiveResourcesInfo()) counts[type] = (counts[type] ?? 0) + 1
  return counts
}

/** Declares the runtime metrics at a hub. @returns the monitor that feeds them */
export function declareRuntimeMetrics(
  vitals: Vitals,
  diskPaths: readonly string[],
  now: () => number
): RuntimeMonitor {
  const pauses = vitals.histogram({
    name: 'nodejs_gc_pause_seconds',
    help: 'Pauses of garbage collection in seconds, by kind',
    labelNames: ['kind'],
    buckets: GC_BUCKETS,
    opentelemetry: { name: 'v8js_gc_duration_seconds', labels: { kind: 'v8js_gc_type' } }
  })
  const kinds = new Map<GcKind, { record(seconds: number): void }>()
  const monitor = new RuntimeMonitor(diskPaths, now, (kind, seconds) => {
    if (!kinds.has(kind)) kinds.set(kind, pauses.with({ kind }))
    kinds.get(kind)!.record(seconds)
  })
  declareMemory(vitals)
  declareProcessor(vitals, monitor)
  declareLoop(vitals, monitor)
  declareDisk(vitals, monitor)
  return monitor
}

function declareMemory(vitals: Vitals): void {
  vitals.gauge({
    name: 'nodejs_memory_usage_bytes',
    help: 'Memory of the process in bytes, by type; heap_limit is what V8 may use',
    labelNames: ['type'],
    collect: () => Object.entries(memoryUsage()).map(([type, bytes]) => [{ type }, bytes])
  })
  vitals.gauge({
    name: 'container_memory_limit_bytes',
    help: 'Memory limit of the container in bytes; absent where there is none',
    collect: () => {
      const limit = containerMemoryLimit()
      return limit === undefined ? [] : [[{}, limit]]
    }
  })
}

function declareProcessor(vitals: Vitals, monitor: RuntimeMonitor): void {
  vitals.gauge({
    name: 'process_cpu_usage_ratio',
    help: 'Share of its processor quota that the process used in the last slot, 0 to 1',
    collect: () => monitor.cpuRatio,
    opentelemetry: { name: 'process_cpu_utilization_ratio' }
  })
  vitals.gauge({
    name: 'process_cpu_quota_cores',
    help: 'Processor time that the process may use, in cores',
    history: false,
    collect: () => monitor.quotaCores
  })
  vitals.gauge({
    name: 'process_uptime_seconds',
    help: 'Seconds since the process started',
    history: false,
    collect: () => process.uptime()
  })
  vitals.gauge({
    name: 'nodejs_resources_active',
    help: 'Open handles and requests under way, by type',
    labelNames: ['type'],
    history: false,
    collect: () => Object.entries(activeResources()).map(([type, count]) => [{ type }, count])
  })
}

function declareLoop(vitals: Vitals, monitor: RuntimeMonitor): void {
  vitals.gauge({
    name: 'nodejs_event_loop_lag_seconds',
    help: 'Delay of the event loop in the last slot, in seconds: its p50, p99 and max',
    labelNames: ['stat'],
    collect: () => {
      const { p50, p99, max } = monitor.loop
      return [
        [{ stat: 'p50' }, p50],
        [{ stat: 'p99' }, p99],
        [{ stat: 'max' }, max]
      ]
    }
  })
  vitals.gauge({
    name: 'nodejs_event_loop_utilization_ratio',
    help: 'Share of the last slot in which the event loop was busy, 0 to 1',
    collect: () => monitor.loop.utilisation,
    opentelemetry: { name: 'nodejs_eventloop_utilization_ratio' }
  })
}

function declareDisk(vitals: Vitals, monitor: RuntimeMonitor): void {
  const read = (pick: 'sizeBytes' | 'freeBytes') => () =>
    monitor.disks.map((disk) => [{ path: disk.path }, disk[pick]] as const)
  vitals.gauge({
    name: 'disk_size_bytes',
    help: 'Size of the file system in bytes',
    labelNames: ['path'],
    history: false,
    collect: read('sizeBytes')
  })
  vitals.gauge({
    name: 'disk_free_bytes',
    help: 'Bytes that may still be written to the file system',
    labelNames: ['path'],
    collect: read('freeBytes')
  })
}
