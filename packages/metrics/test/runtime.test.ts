import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { eventually } from '@fastify-vitals/testing'
import t from 'tap'
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
  await wait(0)
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
