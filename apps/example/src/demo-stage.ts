import type { ShopProcess } from './shop-process.ts'
import type { Terminal } from './terminal.ts'
import type { Traffic } from './traffic.ts'

/** What a scene of the demo needs. */
export interface Stage {
  readonly out: Terminal
  readonly shop: ShopProcess
  readonly traffic: Traffic
  /** Length of a long scene. */
  readonly seconds: number
}

/** Lets visitors come for so many seconds, and shows how far it is. */
export async function phase({ out, traffic }: Stage, what: string, seconds: number): Promise<void> {
  let done = 0
  const timer = setInterval(() => out.progress(what, Math.min(++done, seconds - 1), seconds), 1000)
  out.progress(what, 0, seconds)
  try {
    await traffic.run(seconds)
  } finally {
    clearInterval(timer)
  }
  out.progress(what, seconds, seconds)
}

/** Reads one of the shop's views. */
export async function readView<View>({ shop }: Stage, name: string): Promise<View> {
  return (await shop.admin('GET', `/admin/views/${name}`)) as View
}
