import t from 'tap'
import { run, stopAll } from './shop-runs.ts'

t.teardown(stopAll)

t.test('the demo ends well and tells what changed', async (t) => {
  const demo = run('demo.ts', ['--seconds', '3'])
  t.equal(await demo.code, 0, demo.output())
  t.match(demo.output(), /slower {2}GET \/customers\/:id\/orders/)
  t.match(demo.output(), /GET \/products\/:id +\d+/)
  t.match(demo.output(), /203\.0\.113\.9 +\d+ +[1-9]\d*\n/)
  t.match(demo.output(), /all other visitors +\d+ +0\n/)
  t.match(demo.output(), /s {2}breaker open: 5 calls in a row failed/)
  t.match(demo.output(), /s {2}breaker closed: its probes succeeded/)
  t.match(demo.output(), /[1-9]\d* kB were not sent/)
  t.match(demo.output(), 'The demo is over')
})

t.test('the demo refuses what it does not know', async (t) => {
  for (const args of [['--seconds', '0'], ['--nope']]) {
    const demo = run('demo.ts', args)
    t.equal(await demo.code, 1)
    t.match(demo.output(), /--seconds must be a whole number from 1 to 20, got "0"|--nope/)
  }
})
