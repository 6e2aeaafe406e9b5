import { brotliCompressSync, constants } from 'node:zlib'

export type Whole = 'request' | 'compression' | 'itself'

/** The same work with plain allocation and with a pool. Both leave the same behind. */
export interface PoolWay {
  readonly name: string
  /** How often a sample does it. */
  readonly operations: number
  /** What it is a part of; a pool has to save a share of that. */
  readonly partOf: Whole
  readonly plain: (i: number) => void
  readonly pooled: (i: number) => void
}

/** Objects that are taken and given back, as many as were ever out at once. */
class Pool<Item> {
  readonly #free: Item[] = []
  readonly #make: () => Item

  constructor(make: () => Item) {
    this.#make = make
  }

  take(): Item {
    return this.#free.pop() ?? this.#make()
  }

  give(item: Item): void {
    this.#free.push(item)
  }
}

/** What a record of a request holds: as many fields, of the same kinds. */
class RequestEntry {
  request: object | null = null
  reply: object | null = null
  startMs = 0
  knownRoute: object | null = null
  detail: object | null = null
  error: object | undefined = undefined
  protocolStatus = 0
  done = false
  parts: object | undefined = undefined

  begin(request: object, reply: object, startMs: number): this {
    this.request = request
    this.reply = reply
    this.startMs = startMs
    return this
  }

  /** A pooled one must forget: what it still held would leak into somebody else's request. */
  forget(): void {
    this.request = null
    this.reply = null
    this.knownRoute = null
    this.detail = null
    this.error = undefined
    this.protocolStatus = 0
    this.done = false
    this.parts = undefined
  }
}

/** What a place in a queue holds. */
class QueueEntry {
  previous: QueueEntry | undefined = undefined
  next: QueueEntry | undefined = undefined
  rank = 0
  queuedMs = 0
  dueMs = 0
  goOn: ((isLetIn: boolean) => void) | undefined = undefined

  begin(rank: number, queuedMs: number, goOn: (isLetIn: boolean) => void): this {
    this.rank = rank
    this.queuedMs = queuedMs
    this.dueMs = queuedMs + 1000
    this.goOn = goOn
    return this
  }

  forget(): void {
    this.previous = this.next = this.goOn = undefined
  }
}

/** Holds what is under way, the oldest making place for the newest. */
function places<Item>(alive: number): (Item | undefined)[] {
  return Array.from({ length: alive }, () => undefined)
}

const REQUEST = {}
const REPLY = {}
const GO_ON = (): void => {}

/** @param alive requests under way at once: how long each record lives */
function records(alive: number): PoolWay {
  const pool = new Pool(() => new RequestEntry())
  const [mine, pooled] = [places<RequestEntry>(alive), places<RequestEntry>(alive)]
  return {
    name: `record of a request, ${alive} under way`,
    operations: 1_000_000,
    partOf: 'request',
    plain(i) {
      mine[i % alive] = new RequestEntry().begin(REQUEST, REPLY, i)
    },
    pooled(i) {
      const ended = pooled[i % alive]
      if (ended !== undefined) {
        ended.forget()
        pool.give(ended)
      }
      pooled[i % alive] = pool.take().begin(REQUEST, REPLY, i)
    }
  }
}

function queueEntries(alive: number): PoolWay {
  const pool = new Pool(() => new QueueEntry())
  const [mine, pooled] = [places<QueueEntry>(alive), places<QueueEntry>(alive)]
  return {
    name: `entry of a queue, ${alive} waiting`,
    operations: 1_000_000,
    partOf: 'request',
    plain(i) {
      mine[i % alive] = new QueueEntry().begin(i & 3, i, GO_ON)
    },
    pooled(i) {
      const ended = pooled[i % alive]
      if (ended !== undefined) {
        ended.forget()
        pool.give(ended)
      }
      pooled[i % alive] = pool.take().begin(i & 3, i, GO_ON)
    }
  }
}

/** JSON of about so many bytes, as an API answers with. */
function jsonOf(bytes: number): string {
  const rows: object[] = []
  for (let size = 0, id = 0; size < bytes; id++) {
    const row = { id, name: `item ${(id * 7919) % 1000}`, price: (id * 37) % 500, tags: ['a', 'b'] }
    rows.push(row)
    size += JSON.stringify(row).length + 1
  }
  return JSON.stringify(rows)
}

/** What the compression plugin uses by default, and while the processor is saturated. */
export const DEFAULT_QUALITY = 4
const CHEAPEST_QUALITY = 1

/** Buffers by the power of two that they hold. */
class BufferPool {
  readonly #sizes: readonly Pool<Buffer>[] = Array.from(
    { length: 31 },
    (_, power) => new Pool(() => Buffer.allocUnsafeSlow(2 ** power))
  )

  take(leastBytes: number): Buffer {
    return this.#sizes[32 - Math.clz32(leastBytes - 1)]!.take()
  }

  give(buffer: Buffer): void {
    this.#sizes[31 - Math.clz32(buffer.length)]!.give(buffer)
  }
}

/** Most bytes that a character takes as UTF-8: cheaper than to look at each before. */
const BYTES_PER_CHARACTER = 3

/** Text becomes bytes. */
function textToBytes(kilobytes: number): PoolWay {
  const text = jsonOf(kilobytes * 1000)
  const pool = new BufferPool()
  return {
    name: `${kilobytes} KB of text to bytes`,
    operations: Math.ceil(200_000 / kilobytes),
    partOf: 'compression',
    plain: () => void Buffer.from(text),
    pooled() {
      const bytes = pool.take(text.length * BYTES_PER_CHARACTER)
      bytes.write(text)
      pool.give(bytes)
    }
  }
}

/** The whole of it: text is compressed on this thread, in bytes of zlib's making or of a pool. */
function compressed(kilobytes: number, quality: number): PoolWay {
  const text = jsonOf(kilobytes * 1000)
  const pool = new BufferPool()
  const settings = { params: { [constants.BROTLI_PARAM_QUALITY]: quality } }
  return {
    name: `${kilobytes} KB of text by brotli ${quality}`,
    operations: Math.ceil(16_000 / kilobytes / quality),
    partOf: 'itself',
    plain: () => void brotliCompressSync(text, settings),
    pooled() {
      const bytes = pool.take(text.length * BYTES_PER_CHARACTER)
      brotliCompressSync(bytes.subarray(0, bytes.write(text)), settings)
      pool.give(bytes)
    }
  }
}

const CHUNK = Buffer.alloc(1000, 'x')

/** What a compressor hands out in pieces becomes one buffer, which lives until it is sent. */
function joined(pieces: number): PoolWay {
  const chunks = Array.from({ length: pieces }, () => CHUNK)
  const pool = new BufferPool()
  const size = pieces * CHUNK.length
  const alive = 64
  const [mine, pooled] = [places<Buffer>(alive), places<Buffer>(alive)]
  return {
    name: `${pieces} KB of output joined, ${alive} being sent`,
    operations: Math.ceil(200_000 / pieces),
    partOf: 'compression',
    plain(i) {
      mine[i % alive] = Buffer.concat(chunks)
    },
    pooled(i) {
      const sent = pooled[i % alive]
      if (sent !== undefined) pool.give(sent)
      const bytes = pool.take(size)
      let at = 0
      for (const chunk of chunks) at += chunk.copy(bytes, at)
      pooled[i % alive] = bytes
    }
  }
}

/** The largest is the largest that is compressed on this thread. */
const KILOBYTES: readonly number[] = [2, 20, 60]

export const POOL_WAYS: readonly PoolWay[] = [
  records(64),
  records(4096),
  queueEntries(1000),
  ...KILOBYTES.map(textToBytes),
  ...KILOBYTES.map((kilobytes) => compressed(kilobytes, DEFAULT_QUALITY)),
  ...KILOBYTES.map((kilobytes) => compressed(kilobytes, CHEAPEST_QUALITY)),
  joined(2),
  joined(20)
]
