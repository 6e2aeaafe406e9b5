// Measures memory in a process of its own, where nothing else is kept.
import { request as httpRequest } from 'node:http'
import { Agent } from 'node:http'
import type { AddressInfo } from 'node:net'
import metrics, { History } from '@fastify-vitals/metrics'
import type { Histogram } from '@fastify-vitals/metrics'
import timing from '@fastify-vitals/timing'
import Fastify from 'fastify'
import type { MemoryFigures } from './memory.ts'
import { DISTRIBUTIONS, draw } from './samples.ts'
import { mulberry32 } from './statistics.ts'

const SERIES = 2000
const FLOOD = 1_000_000
const FLOOD_BATCH = 500
const DAY_ENDPOINTS = 10_000
const DAY_HOURS = 24
const MINUTE_MS = 60_000

/** Bytes in use, after everything that can go has gone. */
async function usedBytes(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    globalThis.gc!()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

async function bytesPerSeries(record: (series: Histogram) => void): Promise<number> {
  const app = Fastify()
  await app.register(metrics, { runtimeMetrics: false })
  const family = app.vitals.histogram({
    name: 'http_request_duration_seconds',
    help: 'h',
    labelNames: ['method', 'route', 'status_code']
  })
  const before = await usedBytes()
  for (let i = 0; i < SERIES; i++) {
    record(
      family.with({
        method: 'GET',
        route: `/api/v1/resource${i >> 2}/:id`,
        status_code: 200 + (i & 3)
      })
    )
  }
  app.vitals.history.clear() // bounded by itself, and measured by itself
  const used = (await usedBytes()) - before
  await app.close()
  return used / SERIES
}

async function typical(): Promise<number> {
  const samples = draw(DISTRIBUTIONS['log-normal']!, 1000, 5)
  return await bytesPerSeries((series) => samples.forEach((sample) => series.record(sample)))
}

async function most(): Promise<number> {
  return await bytesPerSeries((series) => {
    for (let octave = -18; octave < 12; octave++) {
      for (let i = 0; i < 64; i++) series.record(1.005 * 2 ** (octave + i / 64))
    }
  })
}

/** A million requests with paths, methods and headers that nobody declared. */
async function flood(): Promise<MemoryFigures['flood']> {
  const app = Fastify()
  await app.register(timing, { tenant: (request) => String(request.headers['x-tenant']) })
  app.get('/known/:id', async () => ({ ok: true }))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const agent = new Agent({ keepAlive: true, maxSockets: 50 })
  const random = mulberry32(11)
  const send = async (requests: number): Promise<void> => {
    for (let sent = 0; sent < requests; sent += FLOOD_BATCH) {
      await Promise.all(Array.from({ length: FLOOD_BATCH }, () => made(port, agent, random)))
    }
  }
  await send(FLOOD / 20)
  const series = (): number =>
    Object.values(app.vitals.snapshot()).reduce((sum, { length }) => sum + length, 0)
  const seriesBefore = series()
  const before = await usedBytes()
  await send(FLOOD)
  const grown = (await usedBytes()) - before
  const seriesAfter = series()
  agent.destroy()
  await app.close()
  return {
    requests: FLOOD,
    series_before: seriesBefore,
    series_after: seriesAfter,
    grown_bytes: grown
  }
}

const METHODS = [
  'GET',
  'PUT',
  'DELETE',
  'PROPFIND',
  'MKCOL',
  'REPORT',
  'SEARCH',
  'PURGE',
  'OPTIONS'
]

function made(port: number, agent: Agent, random: () => number): Promise<void> {
  const word = (): string => Math.floor(random() * 2 ** 32).toString(36)
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({
      port,
      agent,
      method: METHODS[Math.floor(random() * METHODS.length)],
      path: random() < 0.3 ? `/known/${word()}` : `/${word()}/${word()}?${word()}=${word()}`,
      headers: { 'x-tenant': word(), 'user-agent': word(), 'x-request-start': word() }
    })
    outgoing.on('response', (response) => response.resume().on('end', resolve))
    outgoing.on('error', reject)
    outgoing.end()
  })
}

/** A day of ten thousand busy endpoints, on a clock of its own. */
function day(): MemoryFigures['day'] {
  const maxBytes = 33_554_432
  let nowMs = 0
  const history = new History(
    { slotSeconds: 60, retentionHours: DAY_HOURS, maxBytes },
    { family: () => undefined, counters: () => [], gauges: () => [], now: () => nowMs }
  )
  const random = mulberry32(13)
  for (let minute = 0; minute < DAY_HOURS * 60; minute++) {
    for (let endpoint = 1; endpoint <= DAY_ENDPOINTS; endpoint++) {
      for (let i = 0; i < 4; i++) history.sink.push(endpoint, 600 + Math.floor(random() * 200))
    }
    nowMs += MINUTE_MS
    history.tick()
  }
  return {
    endpoints: DAY_ENDPOINTS,
    hours: DAY_HOURS,
    bound_bytes: maxBytes,
    history_bytes: history.bytes,
    covered_hours: history.coveredSeconds / 3600
  }
}

const figures: MemoryFigures = {
  typical_bytes_per_series: await typical(),
  most_bytes_per_series: await most(),
  day: day(),
  flood: await flood()
}
process.send?.(figures)
