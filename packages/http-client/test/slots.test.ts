import { ManualClock } from '@fastify-vitals/testing'
import fc from 'fast-check'
import t from 'tap'
import { Slots } from '../src/slots.ts'
import type { Waiter } from '../src/slots.ts'

t.test('slots: first come, first served, each given once', (t) => {
  const clock = new ManualClock()
  const slots = new Slots({ limit: 1, maxQueue: 2, queueTimeoutMs: 1000 }, clock.now)
  const told: string[] = []
  const waiter = (name: string): Waiter => ({
    sinceMs: 0,
    settle: (refusal) => void told.push(`${name} ${refusal ?? 'in'}`)
  })
  t.ok(slots.tryTake())
  t.notOk(slots.tryTake())
  const [a, b, c] = [waiter('a'), waiter('b'), waiter('c')]
  for (const each of [a, b, c]) slots.wait(each)
  t.strictSame(told, ['c full'])
  slots.leave(a)
  slots.wait(c)
  slots.release()
  slots.release()
  t.strictSame(told, ['c full', 'b in', 'c in'])
  t.equal(slots.running, 1)
  slots.release()
  t.equal(slots.running, 0)
  slots.tryTake()
  slots.wait(a)
  slots.close()
  slots.wait(b)
  t.strictSame(told.slice(3), ['a closed', 'b closed'])
  t.notOk(slots.tryTake())
  t.end()
})

t.test('slots: never more in than there are, nobody forgotten, whatever comes', (t) => {
  const deed = fc.constantFrom('come', 'go', 'give up', 'wait a while')
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3 }),
      fc.array(deed, { maxLength: 60 }),
      (limit, deeds) => {
        const clock = new ManualClock()
        const slots = new Slots({ limit, maxQueue: 2, queueTimeoutMs: 1000 }, clock.now)
        const waiting: Waiter[] = []
        let inside = 0
        let coming = 0
        const come = (): void => {
          coming++
          if (slots.tryTake()) return void inside++
          const waiter: Waiter = {
            sinceMs: 0,
            settle: (refusal) => {
              const at = waiting.indexOf(waiter)
              if (at !== -1) waiting.splice(at, 1)
              if (refusal === undefined) inside++
              else coming--
            }
          }
          waiting.push(waiter)
          slots.wait(waiter)
        }
        const go = (): void => {
          if (inside === 0) return
          inside--
          coming--
          slots.release()
        }
        const giveUp = (): void => {
          const waiter = waiting.pop()
          if (waiter === undefined) return
          slots.leave(waiter)
          coming--
        }
        for (const what of deeds) {
          if (what === 'come') come()
          else if (what === 'go') go()
          else if (what === 'give up') giveUp()
          else clock.advance(500)
          const isSound =
            slots.running === inside &&
            inside <= limit &&
            slots.waiting === waiting.length &&
            waiting.length <= 2 &&
            inside + waiting.length === coming &&
            (waiting.length === 0 || inside === limit)
          if (!isSound) return false
        }
        slots.close()
        return waiting.length === 0
      }
    )
  )
  t.end()
})
