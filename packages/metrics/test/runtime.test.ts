import { createHook } from 'node:async_hooks'
import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { PerformanceObserver } from 'node:perf_hooks'
import { text } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { eventually } from '@fastify-vitals/testing'
import Fastify from 'fastify'
import t from 'tap'
import { metrics } from '../src/index.ts'
import { containerMemoryLimit, cpuQuotaCores } from '../src/runtime/cgroup.ts'
import { CpuUsage } from '../src/runtime/cpu.ts'
import { DiskMonitor } from '../src/runtime/disk.ts'
import { EventLoopMonitor } from '../src/runtime/event-loop.ts'
import { observeGc } from '../src/runtime/gc.ts'
import { memoryUsage } from '../src/runtime/runtime-metrics.ts'

const files = (tree: Record<string, string>) => (path: string) => tree[path]

function block(ms: number): void {
  const untilMs = performance.now() + ms
  while (performance.now() < untilMs);
}

t.test(
  'resident memory is what the kernel says',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const status = readFileSync('/proc/self/status', 'utf8')
    const resident = Number(/VmRSS:\s+(\d+) kB/.exec(status)![1]) * 1024
    t.ok(Math.abs(memoryUsage().rss - resident) / resident < 0.2)
  }
)

t.test('the processor quota is that of the tightest cgroup, in either version', async (t) => {
  const v2 = { '/proc/self/cgroup': '0::/a/b\n', '/sys/fs/cgroup/a/b/cpu.max': 'max 100000\n' }
  t.equal(cpuQuotaCores(files(v2), 8), 8)
  t.equal(cpuQuotaCores(files({ ...v2, '/sys/fs/cgroup/a/cpu.max': '150000 100000\n' }), 8), 1.5)
  const v1 = {
    '/proc/self/cgroup': '4:cpu,cpuacct:/x\n',
    '/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us': '50000\n',
    '/sys/fs/cgroup/cpu/x/cpu.cfs_period_us': '100000\n'
  }
  t.equal(cpuQuotaCores(files(v1), 8), 0.5)
  t.equal(cpuQuotaCores(files({}), 4), 4)
})

t.test("Node's answer for no memory limit is no limit", async (t) => {
  t.equal(containerMemoryLimit(1.8e19, 16e9), undefined)
  t.equal(containerMemoryLimit(0, 16e9), undefined)
  t.equal(containerMemoryLimit(2e9, 16e9), 2e9)
})

t.test('processor use is a share of the quota', async (t) => {
  const usage = new CpuUsage(2, () => performance.now())
  const startMs = performance.now()
  const before = process.cpuUsage()
  block(100)
  usage.sample()
  const { user, system } = process.cpuUsage(before)
  const expected = (user + system) / 1000 / (performance.now() - startMs) / 2
  t.ok(Math.abs(usage.ratio - expected) < 0.05, `${usage.ratio} of two cores, expected ${expected}`)
})

t.test('every collection is reported, also when several come in one callback', async (t) => {
  let pauses = 0
  const stop = observeGc((_kind, seconds) => {
    t.ok(seconds >= 0)
    pauses++
  })
  const kept: unknown[] = []
  for (let i = 0; i < 300; i++) {
    kept[0] = Array.from({ length: 60_000 }, (_, j) => ({ j }))
  }
  await eventually(() => pauses >= 5)
  stop()
  t.ok(pauses >= 5, `${pauses} pauses`)
})

t.test(
  'a blocked event loop shows in the slot it was blocked in, however often it is read',
  async (t) => {
    const monitor = new EventLoopMonitor()
    t.teardown(() => monitor.close())
    await wait(50)
    monitor.sample()
    block(150)
    await wait(50)
    monitor.sample()
    for (let i = 0; i < 2; i++) t.ok(monitor.last.max >= 0.12, `${monitor.last.max} s`)
    t.ok(monitor.last.utilisation > 0.5)
    await wait(60)
    monitor.sample()
    t.ok(monitor.last.max < 0.1, 'the next slot is another one')
  }
)

t.test('a disk has a size and free space; a path that is none is left out', async (t) => {
  const monitor = new DiskMonitor(['.', '/no/such/path'])
  await monitor.sample(0)
  const usage = await eventually(() => monitor.usage.length > 0 && monitor.usage)
  t.equal(usage.length, 1)
  t.ok(usage[0]!.freeBytes <= usage[0]!.sizeBytes && usage[0]!.sizeBytes > 0)
})

t.test('the tightest quota counts, wherever in the tree it is set', async (t) => {
  const nested = (quotas: readonly string[]): Record<string, string> => {
    const groups = ['', '/a', '/a/b', '/a/b/c']
    const tree = groups.map((group, i) => [`/sys/fs/cgroup${group}/cpu.max`, quotas[i]!] as const)
    return { '/proc/self/cgroup': '0::/a/b/c\n', ...Object.fromEntries(tree) }
  }
  const none = 'max 100000\n'
  for (let i = 0; i < 4; i++) {
    const quotas = Array.from({ length: 4 }, (_, at) => (at === i ? '50000 20000\n' : none))
    t.equal(cpuQuotaCores(files(nested(quotas)), 8), 2.5, `set at level ${i}`)
  }
  t.equal(cpuQuotaCores(files(nested([none, '400000 100000', '300000 100000', none])), 8), 3)
  t.equal(cpuQuotaCores(files(nested([none, none, none, '900000 100000'])), 8), 8, 'no more than 8')
})

t.test('a quota of version 1 counts from nested groups, and -1 is none', async (t) => {
  const v1 = (path: string, quota: string): Record<string, string> => ({
    '/proc/self/cgroup': '11:memory:/m\n4:cpuacct,cpu:/x/y\n1:name=systemd:/z\n0::/\n',
    [`/sys/fs/cgroup/cpu${path}/cpu.cfs_quota_us`]: quota,
    [`/sys/fs/cgroup/cpu${path}/cpu.cfs_period_us`]: '100000\n'
  })
  for (const path of ['/x/y', '/x', '']) t.equal(cpuQuotaCores(files(v1(path, '75000')), 8), 0.75)
  t.equal(cpuQuotaCores(files(v1('/x/y', '-1\n')), 8), 8)
  t.equal(cpuQuotaCores(files(v1('/m', '75000')), 8), 8, 'the group of another controller')
})

t.test('the quota of a container whose path is not mounted is read at the root', async (t) => {
  const tree = {
    '/proc/self/cgroup': '0::/kubepods/pod7\n',
    '/sys/fs/cgroup/cpu.max': '200000 100000\n'
  }
  t.equal(cpuQuotaCores(files(tree), 8), 2)
})

t.test('files that make no sense are no quota', async (t) => {
  for (const quota of ['', 'max', '0 0', 'x y', '100000', '-5 100000']) {
    const tree = { '/proc/self/cgroup': 'garbage', '/sys/fs/cgroup/cpu.max': quota }
    t.equal(cpuQuotaCores(files(tree), 8), 8, JSON.stringify(quota))
  }
})

t.test('this machine has some processor time to give', async (t) => {
  const cores = cpuQuotaCores()
  t.ok(cores > 0 && cores <= availableParallelism(), `${cores} cores`)
})

t.test('processor use is of the last interval, and an empty interval keeps it', async (t) => {
  let nowMs = 0
  const usage = new CpuUsage(1, () => nowMs)
  block(50)
  nowMs = 50
  usage.sample()
  const busy = usage.ratio
  t.ok(busy > 0)
  usage.sample()
  t.equal(usage.ratio, busy)
  nowMs = 1e6
  usage.sample()
  t.ok(usage.ratio < busy / 100, 'nothing of the first interval is in the second')
})

t.test('as many collections are reported as there were, each with its kind', async (t) => {
  const kinds: string[] = []
  let entries = 0
  const observer = new PerformanceObserver((list) => (entries += list.getEntries().length))
  observer.observe({ entryTypes: ['gc'] })
  const stop = observeGc((kind) => kinds.push(kind))
  for (let i = 0; i < 20; i++) collectGarbage()
  // Node tells of collections in a later turn
  await eventually(() => entries >= 20)
  stop()
  entries += observer.takeRecords().length
  observer.disconnect()
  t.equal(kinds.length, entries)
  t.ok(kinds.filter((kind) => kind === 'major').length >= 20, kinds.join())
  collectGarbage()
  await wait(20)
  t.equal(kinds.length, entries, 'once stopped, none is reported')
})

t.test('the memory it tells of is what the process has', async (t) => {
  const before = memoryUsage()
  const held = Buffer.alloc(32 * 2 ** 20, 1)
  const after = memoryUsage()
  t.ok(after.array_buffers - before.array_buffers >= held.length * 0.9)
  t.ok(after.heap_used <= after.heap_total && after.heap_total <= after.heap_limit)
})

t.test('readers of the event loop do not end its interval', async (t) => {
  const app = Fastify()
  await app.register(metrics, { history: { slotSeconds: 60 } })
  t.teardown(async () => {
    await app.close()
  })
  await app.ready()
  const lag = async (): Promise<string[]> =>
    (await text(app.vitals.scrape().body)).match(/^nodejs_event_loop_lag_seconds.*/gm) ?? []
  const first = await lag()
  t.equal(first.length, 3)
  block(60)
  await wait(30)
  app.vitals.snapshot()
  app.vitals.views.get('runtime')!.read()
  t.same(await lag(), first, 'the same figures until the slot ends')
})

t.test('a disk is looked at once a minute', async (t) => {
  const paths = ['.']
  const monitor = new DiskMonitor(paths)
  await monitor.sample(0)
  paths[0] = '/no/such/path'
  await monitor.sample(59_999)
  t.equal(monitor.usage.length, 1, 'too early to look again')
  await monitor.sample(60_000)
  t.equal(monitor.usage.length, 0)
})

t.test('no timer and no observer is alive after the app was closed', async (t) => {
  const timers = new Map<number, string>()
  const hook = createHook({
    init: (id, type) => void (type === 'Timeout' && timers.set(id, new Error('made').stack ?? '')),
    destroy: (id) => void timers.delete(id)
  }).enable()
  const app = Fastify()
  await app.register(metrics)
  await app.ready()
  const ours = (): string[] => [...timers.values()].filter((at) => at.includes('/metrics/src/'))
  t.ok(ours().length >= 2, 'the slot and the event loop are watched')
  const pauses = (): number =>
    app.vitals.snapshot().nodejs_gc_pause_seconds!.reduce((sum, { value }) => sum + value, 0)
  await app.close()
  await eventually(() => ours().length === 0)
  hook.disable()
  const before = pauses()
  collectGarbage()
  await wait(20)
  t.equal(pauses(), before, 'collections are not counted any more')
})

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  ;(runInNewContext('gc') as () => void)()
}
