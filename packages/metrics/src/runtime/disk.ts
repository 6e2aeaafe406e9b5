import { statfs } from 'node:fs/promises'

export interface DiskUsage {
  readonly path: string
  readonly sizeBytes: number
  /** What an unprivileged process may still write. */
  readonly freeBytes: number
}

const EVERY_MS = 60_000

/** Free and total space, looked up once a minute and never while somebody waits. */
export class DiskMonitor {
  readonly #paths: readonly string[]
  #usage: DiskUsage[] = []
  #lookedAtMs = -Infinity

  constructor(paths: readonly string[]) {
    this.#paths = paths
  }

  get usage(): readonly DiskUsage[] {
    return this.#usage
  }

  /** Looks again when the last look is old. A path that can't be read is left out. */
  async sample(nowMs: number): Promise<void> {
    if (nowMs - this.#lookedAtMs < EVERY_MS) return
    this.#lookedAtMs = nowMs
    const looks = await Promise.allSettled(this.#paths.map(diskUsage))
    this.#usage = looks.flatMap((look) => (look.status === 'fulfilled' ? [look.value] : []))
  }
}

async function diskUsage(path: string): Promise<DiskUsage> {
  const { blocks, bavail, bsize } = await statfs(path)
  return { path, sizeBytes: blocks * bsize, freeBytes: bavail * bsize }
}
