import zlib from 'node:zlib'
import type { Transform } from 'node:stream'

export type Encoding = 'br' | 'zstd' | 'gzip' | 'deflate'

/** All content encodings that some Node can do, in the order in which we prefer them. */
export const ENCODINGS: readonly Encoding[] = ['br', 'zstd', 'gzip', 'deflate']

/** A zlib stream, which knows how many bytes were written to it. */
export type ZipStream = Transform & { readonly bytesWritten: number }

type Settings = object
type Callback = (error: Error | null, result: Buffer) => void

/** One content encoding: how to make it and undo it. Knows nothing of when. */
export interface Codec {
  readonly encoding: Encoding
  readonly lowestLevel: number
  readonly highestLevel: number
  /** The level that takes least processor time for what it saves. */
  readonly cheapestLevel: number
  /** Nanoseconds a byte of JSON at some levels, for a first guess; what is measured replaces it. */
  readonly guessedNs: readonly (readonly [level: number, ns: number])[]
  /** @param bytes of the body, `undefined` when that is not known */
  settings(level: number, bytes: number | undefined): Settings
  compressSync(body: string | Buffer, settings: Settings): Buffer
  compress(body: string | Buffer, settings: Settings, done: Callback): void
  compressStream(settings: Settings): ZipStream
  decompressStream(): ZipStream
}

/** What zlib has had since Node 22.15 and 23.8, which the types of Node 20 don't know. */
interface Zstd {
  zstdCompressSync(body: string | Buffer, settings: Settings): Buffer
  zstdCompress(body: string | Buffer, settings: Settings, done: Callback): void
  createZstdCompress(settings: Settings): ZipStream
  createZstdDecompress(): ZipStream
  readonly constants: { readonly ZSTD_c_compressionLevel: number }
}

const { constants } = zlib

/** Fewer trips to the thread pool for what is likely to be long. */
const LONG_BYTES = 131_072
const LONG_CHUNK_BYTES = 65_536

function chunks(bytes: number | undefined): { chunkSize?: number } {
  return bytes !== undefined && bytes >= LONG_BYTES ? { chunkSize: LONG_CHUNK_BYTES } : {}
}

const SMALLEST_WINDOW_BITS = 16
const DEFAULT_WINDOW_BITS = 22

/**
 * A window that holds the body compresses as well as a wider one. With the default of 22 bits the
 * allocator may fault in fresh pages at every call in the thread pool: 54 a call at quality 2 and
 * 20 KB, eight at a time, but none at quality 4, so what it gains depends on level and machine.
 */
function windowBits(bytes: number | undefined): number {
  if (bytes === undefined) return DEFAULT_WINDOW_BITS
  const bits = 32 - Math.clz32(bytes)
  return Math.min(DEFAULT_WINDOW_BITS, Math.max(SMALLEST_WINDOW_BITS, bits))
}

const br: Codec = {
  encoding: 'br',
  lowestLevel: 0,
  highestLevel: 11,
  cheapestLevel: 1,
  guessedNs: [
    [0, 2.5],
    [1, 3.5],
    [2, 6.5],
    [3, 8],
    [4, 12],
    [5, 19],
    [9, 100],
    [11, 2000]
  ],
  settings: (level, bytes) => ({
    ...chunks(bytes),
    params: {
      [constants.BROTLI_PARAM_QUALITY]: level,
      [constants.BROTLI_PARAM_LGWIN]: windowBits(bytes)
    }
  }),
  compressSync: (body, settings) => zlib.brotliCompressSync(body, settings),
  compress: (body, settings, done) => zlib.brotliCompress(body, settings, done),
  compressStream: (settings) => zlib.createBrotliCompress(settings),
  decompressStream: () => zlib.createBrotliDecompress()
}

/** What gzip and deflate have in common. */
const DEFLATE = {
  lowestLevel: 1,
  highestLevel: 9,
  cheapestLevel: 1,
  guessedNs: [
    [1, 6],
    [4, 9.5],
    [6, 17],
    [9, 40]
  ],
  settings: (level: number, bytes: number | undefined) => ({ ...chunks(bytes), level })
} as const

const gzip: Codec = {
  ...DEFLATE,
  encoding: 'gzip',
  compressSync: (body, settings) => zlib.gzipSync(body, settings),
  compress: (body, settings, done) => zlib.gzip(body, settings, done),
  compressStream: (settings) => zlib.createGzip(settings),
  decompressStream: () => zlib.createGunzip()
}

const deflate: Codec = {
  ...DEFLATE,
  encoding: 'deflate',
  compressSync: (body, settings) => zlib.deflateSync(body, settings),
  compress: (body, settings, done) => zlib.deflate(body, settings, done),
  compressStream: (settings) => zlib.createDeflate(settings),
  decompressStream: () => zlib.createInflate()
}

function zstdOf(node: Zstd): Codec {
  return {
    encoding: 'zstd',
    lowestLevel: 1,
    highestLevel: 19,
    cheapestLevel: 1,
    guessedNs: [
      [1, 3],
      [3, 5],
      [9, 25],
      [19, 500]
    ],
    settings: (level, bytes) => ({
      ...chunks(bytes),
      params: { [node.constants.ZSTD_c_compressionLevel]: level }
    }),
    compressSync: (body, settings) => node.zstdCompressSync(body, settings),
    compress: (body, settings, done) => node.zstdCompress(body, settings, done),
    compressStream: (settings) => node.createZstdCompress(settings),
    decompressStream: () => node.createZstdDecompress()
  }
}

const hasZstd = 'createZstdCompress' in zlib

/** The encodings of this Node. */
export const CODECS: ReadonlyMap<string, Codec> = new Map(
  [br, ...(hasZstd ? [zstdOf(zlib as unknown as Zstd)] : []), gzip, deflate].map((codec) => [
    codec.encoding,
    codec
  ])
)

/** @throws Error for an encoding that this Node does not have; options are checked before */
export function codecOf(encoding: Encoding): Codec {
  const codec = CODECS.get(encoding)
  if (codec === undefined) throw new Error(`this Node has no ${encoding}`)
  return codec
}
