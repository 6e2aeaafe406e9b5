import fc from 'fast-check'
import t from 'tap'
import { BucketBounds } from '../src/bucket-counts.ts'
import { LatencyHistogram } from '../src/latency-histogram.ts'
import { BUCKETS, bucketOf, lowerBound } from '../src/log-scale.ts'
import { PageSlab } from '../src/page-slab.ts'

const QUANTILES = [0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999]

function recorded(samples: Iterable<number>, histogram = new LatencyHistogram()): LatencyHistogram {
  for (const sample of samples) histogram.record(sample)
  return histogram
}

function exactQuantile(samples: readonly number[], q: number): number {
  const sorted = samples.toSorted((a, b) => a - b)
  return sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1]!
}

function gaussian(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
}

function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 4294967296
  }
}

const shapes: Record<string, (random: () => number) => number> = {
  'log-normal': (random) => 0.008 * Math.exp(gaussian(random)),
  bimodal: (random) => (random() < 0.9 ? 0.002 : 0.4) * Math.exp(0.3 * gaussian(random)),
  'heavy-tailed': (random) => 0.001 / (1 - random()) ** (1 / 1.2)
}

for (const [name, shape] of Object.entries(shapes)) {
  t.test(`any quantile of a million ${name} samples is within 1 % of the exact one`, async (t) => {
    const random = seeded(42)
    const samples = Float64Array.from({ length: 1e6 }, () => shape(random))
    const histogram = recorded(samples)
    const sorted = samples.toSorted()
    for (const q of QUANTILES) {
      const exact = sorted[Math.ceil(q * 1e6) - 1]!
      t.ok(Math.abs(histogram.quantile(q)! - exact) / exact <= 0.01, `p${q * 100}`)
    }
  })
}

const duration = fc.double({ min: 5e-6, max: 4000, noNaN: true })
const durations = fc.array(duration, { minLength: 1, maxLength: 300 })

t.test('whatever was recorded, a quantile is within 1 % of the exact one', async () => {
  fc.assert(
    fc.property(durations, fc.double({ min: 0.001, max: 0.999, noNaN: true }), (samples, q) => {
      const exact = exactQuantile(samples, q)
      return Math.abs(recorded(samples).quantile(q)! - exact) <= exact * 0.01
    })
  )
})

t.test('the smallest, largest, sum and count are exact', async (t) => {
  const histogram = recorded([0.25, 0.5, 4])
  t.same(
    [histogram.min, histogram.max, histogram.sum, histogram.count, histogram.mean],
    [0.25, 4, 4.75, 3, 4.75 / 3]
  )
  t.equal(histogram.quantile(0), 0.25)
  t.equal(histogram.quantile(1), 4)
})

t.test('merging two histograms is recording both into one', async () => {
  fc.assert(
    fc.property(durations, durations, (some, others) => {
      const merged = recorded(some)
      merged.merge(recorded(others))
      const together = recorded([...some, ...others])
      return (
        JSON.stringify(merged.snapshot()) === JSON.stringify(together.snapshot()) &&
        JSON.stringify(merged.classic.counts) === JSON.stringify(together.classic.counts) &&
        merged.min === together.min &&
        merged.max === together.max
      )
    })
  )
})

t.test('the difference of two snapshots is what came between them', async () => {
  fc.assert(
    fc.property(durations, durations, (before, after) => {
      const histogram = recorded(before)
      const earlier = histogram.snapshot()
      recorded(after, histogram)
      const difference = histogram.snapshot().since(earlier)
      return JSON.stringify(difference) === JSON.stringify(recorded(after).snapshot())
    })
  )
})

t.test('classic buckets are exact, and a boundary belongs to the bucket below it', async () => {
  const bounds = new BucketBounds([0.005, 0.0051, 0.1, 1, 10])
  const near = fc.constantFrom(0.005, 0.00500001, 0.0051, 0.1, 0.1000001, 1, 10, 11, 0)
  fc.assert(
    fc.property(fc.oneof(duration, near), (value) => {
      const found = bounds.upper.findIndex((bound) => value <= bound)
      return bounds.indexOf(value) === (found === -1 ? bounds.upper.length : found)
    })
  )
})

t.test('every value is inside its logarithmic bucket, the upper boundary included', async (t) => {
  for (let index = 1; index < BUCKETS - 1; index++) {
    t.equal(bucketOf(lowerBound(index + 1)), index)
  }
  fc.assert(
    fc.property(duration, (value) => {
      const index = bucketOf(value)
      return value > lowerBound(index) * (1 - 1e-12) && value <= lowerBound(index + 1) * (1 + 1e-12)
    })
  )
})

t.test('an empty histogram has no quantile and no mean, rather than zero', async (t) => {
  const histogram = new LatencyHistogram()
  t.equal(histogram.quantile(0.5), undefined)
  t.equal(histogram.mean, undefined)
  t.equal(histogram.snapshot().quantile(0.5), undefined)
})

t.test('what is negative or not a number is refused and counted', async (t) => {
  const histogram = recorded([-1, Number.NaN, -0.001, 0.5])
  t.equal(histogram.count, 1)
  t.equal(histogram.refused, 3)
})

t.test('zero and what is beyond the scale count at its ends', async (t) => {
  const histogram = recorded([0, 1e9, Infinity])
  t.equal(histogram.count, 3)
  t.ok(histogram.quantile(0.01)! <= 4e-6)
  t.equal(histogram.max, Infinity)
})

t.test('counters carry on beyond 65 535 and beyond 2^32', async (t) => {
  const histogram = new LatencyHistogram()
  for (let i = 0; i < 70_000; i++) histogram.record(0.5)
  t.equal(histogram.snapshot().count, 70_000)
  let expected = 70_000
  while (expected < 2 ** 34) {
    const copy = new LatencyHistogram()
    copy.merge(histogram)
    histogram.merge(copy)
    expected *= 2
  }
  t.equal(histogram.snapshot().count, expected)
  t.equal(histogram.count, expected)
})

t.test('a reset histogram is empty and its pages serve others', async (t) => {
  const slab = new PageSlab()
  const histogram = recorded([0.001, 0.1, 10], new LatencyHistogram({ slab }))
  histogram.reset()
  const { bytes } = slab
  recorded([0.001, 0.1, 10], new LatencyHistogram({ slab }))
  t.equal(slab.bytes, bytes)
  t.equal(histogram.count, 0)
  t.same(histogram.snapshot().counts, [])
})

t.test('boundaries that do not ascend are refused', async (t) => {
  t.throws(() => new BucketBounds([1, 0.5]), /ascending/)
  t.throws(() => new BucketBounds([]), /1 to 200/)
})

t.test('the classic buckets of what was recorded are counted exactly', async () => {
  const upper = [0.005, 0.01, 0.1, 1, 10]
  const value = fc.oneof(duration, fc.constantFrom(0, ...upper, 0.01 + Number.EPSILON, 11))
  fc.assert(
    fc.property(fc.array(value), (values) => {
      const histogram = recorded(values, new LatencyHistogram({ bounds: new BucketBounds(upper) }))
      const expected = [...upper, Infinity].map(
        (le, i) => values.filter((each) => each <= le && each > (upper[i - 1] ?? -1)).length
      )
      return JSON.stringify(histogram.classic.counts) === JSON.stringify(expected)
    })
  )
})

t.test('a larger value is never in a lower bucket', async () => {
  const any = fc.double({ min: 0, noNaN: true })
  fc.assert(
    fc.property(any, any, (a, b) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)]
      return bucketOf(low) <= bucketOf(high) && bucketOf(high) < BUCKETS
    })
  )
})

t.test('the ends of the scale take their own boundaries and all beyond', async (t) => {
  t.equal(bucketOf(lowerBound(1)), 0)
  t.equal(bucketOf(lowerBound(1) * (1 + Number.EPSILON)), 1)
  t.equal(bucketOf(lowerBound(BUCKETS)), BUCKETS - 1)
  t.equal(bucketOf(Number.MIN_VALUE), 0)
  t.equal(bucketOf(Number.MAX_VALUE), BUCKETS - 1)
})

t.test('the record that passes 2^32 carries through every level', async (t) => {
  const slab = new PageSlab()
  const histogram = new LatencyHistogram({ slab })
  for (let i = 0; i < 32; i++) {
    const copy = new LatencyHistogram()
    copy.merge(histogram)
    histogram.merge(copy)
    histogram.record(0.5)
  }
  t.equal(histogram.snapshot().count, 2 ** 32 - 1)
  histogram.record(0.5)
  t.equal(histogram.snapshot().count, 2 ** 32)
  t.equal(histogram.count, 2 ** 32)
})

t.test('quantiles hold where counts are beyond 65 535', async (t) => {
  const histogram = new LatencyHistogram()
  for (let i = 0; i < 300_000; i++) histogram.record(i % 3 === 0 ? 2 : 0.1)
  t.ok(Math.abs(histogram.quantile(0.66)! - 0.1) <= 0.001)
  t.ok(Math.abs(histogram.quantile(0.67)! - 2) <= 0.02)
})

t.test('histograms that share pages do not share counts', async (t) => {
  const slab = new PageSlab()
  const histograms = Array.from({ length: 200 }, () => new LatencyHistogram({ slab }))
  for (const [i, histogram] of histograms.entries()) {
    recorded(
      Array.from({ length: i }, () => 0.5),
      histogram
    )
    recorded([0.001 * (i + 1)], histogram)
  }
  t.same(
    histograms.map((histogram) => histogram.snapshot().count),
    histograms.map((_, i) => i + 1)
  )
})

t.test('resetting again and again takes no more pages than once', async (t) => {
  const slab = new PageSlab()
  const histogram = new LatencyHistogram({ slab })
  const many = recorded([0.5])
  for (let i = 0; i < 17; i++) many.merge(many)
  const round = (): void => {
    recorded([0.001, 0.01, 0.1, 1, 10], histogram)
    histogram.merge(many)
    histogram.reset()
  }
  round()
  const { bytes } = slab
  for (let i = 0; i < 200; i++) round()
  t.equal(slab.bytes, bytes)
  recorded([0.5], histogram)
  t.equal(histogram.snapshot().count, 1, 'nothing is left of what was carried')
})

t.test('what was refused is in no figure, and a merge adds it up', async (t) => {
  const histogram = recorded([Number.NaN, -1, 0.5])
  histogram.merge(recorded([-2, 0.25]))
  t.same(
    [histogram.refused, histogram.count, histogram.sum, histogram.min, histogram.max],
    [3, 2, 0.75, 0.25, 0.5]
  )
})

t.test('merging an empty histogram changes nothing', async (t) => {
  const histogram = recorded([0.25, 0.5])
  const before = JSON.stringify(histogram.snapshot())
  histogram.merge(new LatencyHistogram())
  t.equal(JSON.stringify(histogram.snapshot()), before)
  t.same([histogram.min, histogram.max], [0.25, 0.5])
})

t.test('histograms of different boundaries are not merged', async (t) => {
  const other = new LatencyHistogram({ bounds: new BucketBounds([1]) })
  t.throws(() => new LatencyHistogram().merge(other), { code: 'VITALS_DECLARATION_INVALID' })
})

t.test('a snapshot stays as it was when more is recorded', async (t) => {
  const histogram = recorded([0.5])
  const snapshot = histogram.snapshot()
  recorded([0.5, 2], histogram)
  t.equal(snapshot.count, 1)
  t.equal(snapshot.countAbove(1), 0)
  t.equal(histogram.snapshot().countAbove(1), 1)
})
