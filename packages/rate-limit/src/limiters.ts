import { FixedWindows } from './fixed-windows.ts'
import type { MakeCheck } from './fixed-windows.ts'
import { KeyHash } from './key-hash.ts'
import { KeyTable } from './key-table.ts'
import { Limiter } from './limiter.ts'
import type { LimiterParts } from './limiter.ts'
import { LocalBuckets } from './local-buckets.ts'
import type { Memory } from './local-buckets.ts'
import type { Policy } from './policy.ts'
import { ShareLimits } from './share-limits.ts'
import type { SharedStore } from './shared-store.ts'
import type { WindowStore } from './window-store.ts'

const WINDOWS_SWEPT = 20_000

const now = (): number => performance.now()

/** All limiters of an app, and the memory they share. */
export class Limiters {
  readonly list: Limiter[] = []
  readonly #maxKeys: number
  readonly #makeCheck: MakeCheck
  readonly #store: SharedStore | undefined
  readonly #table: KeyTable
  readonly #memory: Memory
  readonly #windows: WindowStore[] = []
  #spaces = 0

  /** @param store where the counts are shared with other processes, if they are */
  constructor(maxKeys: number, makeCheck: MakeCheck, store: SharedStore | undefined) {
    this.#maxKeys = maxKeys
    this.#makeCheck = makeCheck
    this.#store = store
    this.#table = new KeyTable(maxKeys)
    this.#memory = {
      table: this.#table,
      hash: new KeyHash(),
      nextSpace: () => this.#spaces++
    }
  }

  add(name: string, policies: readonly Policy[]): Limiter {
    const limiter = new Limiter(name, policies, this.#parts(name, policies), now)
    this.list.push(limiter)
    return limiter
  }

  /** Keys in memory. */
  get keys(): number {
    return this.#windows.reduce((sum, { size }) => sum + size, this.#table.size)
  }

  /** Keys lost before their time because there were too many. */
  get evicted(): number {
    return this.#windows.reduce((sum, { evicted }) => sum + evicted, this.#table.evicted)
  }

  /** Gives back the memory of keys that are free again; a part of it at each call. */
  sweep(): void {
    const nowMs = now()
    this.#table.sweep(nowMs)
    for (const windows of this.#windows) windows.sweep(nowMs, WINDOWS_SWEPT)
  }

  #parts(name: string, policies: readonly Policy[]): LimiterParts {
    if (this.#store !== undefined) {
      const shared = new ShareLimits(name, policies, this.#store, this.#memory, now)
      return { kind: 'shared', shared }
    }
    const buckets = new LocalBuckets(policies, this.#memory)
    if (policies.every(({ kind }) => kind === 'token-bucket')) return { kind: 'buckets', buckets }
    const windows = new FixedWindows(policies, this.#maxKeys, this.#makeCheck)
    this.#windows.push(...windows.stores)
    return { kind: 'windows', buckets, windows }
  }
}
