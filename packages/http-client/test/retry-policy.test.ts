import { VitalsError } from '@fastify-vitals/metrics'
import fc from 'fast-check'
import t from 'tap'
import { request } from 'undici'
import { wasBroken, wasNeverSent } from '../src/policies/connection-errors.ts'
import {
  hasIdempotencyKey,
  IDEMPOTENT_METHODS,
  isReplayable,
  judgeRetry,
  RETRY_STATUSES
} from '../src/policies/retry-policy.ts'
import type { AttemptOutcome, RetryRules } from '../src/policies/retry-policy.ts'
import { upstream } from './upstreams.ts'

t.test('whether to retry', async (t) => {
  const rules: RetryRules = {
    methods: new Set(IDEMPOTENT_METHODS),
    statuses: new Set(RETRY_STATUSES),
    maxAttempts: 3,
    maxElapsedMs: 1000
  }
  const unavailable: AttemptOutcome = {
    method: 'GET',
    replayable: true,
    attempts: 1,
    elapsedMs: 10,
    waitMs: 100,
    statusCode: 503
  }
  const failed = (code: string, syscall?: string): Partial<AttemptOutcome> => ({
    statusCode: undefined,
    error: Object.assign(new Error(code), { code, syscall })
  })
  const judge = (changes: Partial<AttemptOutcome>): string =>
    judgeRetry(rules, { ...unavailable, ...changes })

  t.test('an idempotent call that met a passing failure is made again', async (t) => {
    for (const statusCode of RETRY_STATUSES) t.equal(judge({ statusCode }), 'retry')
    for (const method of IDEMPOTENT_METHODS) t.equal(judge({ method }), 'retry')
    for (const code of ['ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'UND_ERR_SOCKET', 'ECONNREFUSED']) {
      t.equal(judge(failed(code)), 'retry', code)
    }
  })

  t.test('an answer that would come out the same is not', async (t) => {
    for (const statusCode of [200, 301, 304, 400, 401, 404, 409, 500, 501]) {
      t.equal(judge({ statusCode }), 'not_retryable', String(statusCode))
    }
  })

  t.test('what the caller did, or will be the same again, is not', async (t) => {
    const codes = [
      'UND_ERR_ABORTED',
      'UND_ERR_DESTROYED',
      'CERT_HAS_EXPIRED',
      'HPE_INVALID_CONSTANT',
      'VITALS_BREAKER_OPEN',
      'VITALS_ADDRESS_BLOCKED'
    ]
    for (const code of codes) t.equal(judge(failed(code)), 'not_retryable', code)
    const aborted = new DOMException('aborted', 'AbortError')
    t.equal(judge({ ...failed(''), error: aborted }), 'not_retryable')
    t.equal(judge({ ...failed(''), error: 'ECONNRESET' }), 'not_retryable')
    t.equal(judge({ ...failed(''), error: undefined }), 'not_retryable')
  })

  t.test(
    'a POST is made again only when nothing of it was sent, or the caller vouches',
    async (t) => {
      const method = 'POST'
      t.equal(judge({ method }), 'not_idempotent')
      t.equal(judge({ method, ...failed('ECONNRESET') }), 'not_idempotent')
      t.equal(judge({ method, ...failed('ETIMEDOUT', 'read') }), 'not_idempotent')
      t.equal(judge({ method, ...failed('UND_ERR_HEADERS_TIMEOUT') }), 'not_idempotent')
      t.equal(judge({ method, ...failed('ECONNREFUSED') }), 'retry')
      t.equal(judge({ method, ...failed('UND_ERR_CONNECT_TIMEOUT') }), 'retry')
      t.equal(judge({ method, ...failed('ETIMEDOUT', 'connect') }), 'retry')
      t.equal(judge({ method, idempotent: true }), 'retry')
    }
  )

  t.test('a GET is not, where its caller says so and something was sent', async (t) => {
    t.equal(judge({ idempotent: false }), 'not_idempotent')
    t.equal(judge({ idempotent: false, ...failed('ECONNRESET') }), 'not_idempotent')
    t.equal(judge({ idempotent: false, ...failed('ECONNREFUSED') }), 'retry')
  })

  t.test('methods and statuses are as the rules say', async (t) => {
    const own = { ...rules, methods: new Set(['POST']), statuses: new Set([500]) }
    t.equal(judgeRetry(own, { ...unavailable, method: 'POST', statusCode: 500 }), 'retry')
    t.equal(judgeRetry(own, { ...unavailable, statusCode: 500 }), 'not_idempotent')
    t.equal(judgeRetry(own, unavailable), 'not_retryable')
  })

  t.test('a body that is gone, or an answer that has begun, ends it', async (t) => {
    t.equal(judge({ replayable: false }), 'body_not_replayable')
    t.equal(judge({ replayable: false, ...failed('ECONNREFUSED') }), 'body_not_replayable')
    t.equal(judge({ answerBegun: true, ...failed('ECONNRESET') }), 'answer_begun')
  })

  t.test('attempts and time are bounded, waiting included', async (t) => {
    t.equal(judge({ attempts: 2 }), 'retry')
    t.equal(judge({ attempts: 3 }), 'max_attempts')
    t.equal(judge({ elapsedMs: 900, waitMs: 100 }), 'retry')
    t.equal(judge({ elapsedMs: 900, waitMs: 101 }), 'max_elapsed')
    t.equal(judge({ elapsedMs: 0, waitMs: Number.NaN }), 'max_elapsed')
  })

  t.test('it says retry only when every single rule does', async () => {
    const outcome = fc.record({
      method: fc.constantFrom('GET', 'PUT', 'POST', 'PATCH', 'get'),
      idempotent: fc.option(fc.boolean(), { nil: undefined }),
      replayable: fc.boolean(),
      answerBegun: fc.boolean(),
      attempts: fc.integer({ min: 1, max: 4 }),
      elapsedMs: fc.integer({ min: 0, max: 1200 }),
      waitMs: fc.integer({ min: 0, max: 300 }),
      fault: fc.constantFrom(200, 500, 503, 'ECONNREFUSED', 'ECONNRESET', 'OTHER')
    })
    const asModel = fc.property(outcome, ({ fault, ...rest }) => {
      const ended = typeof fault === 'number' ? { statusCode: fault } : { error: { code: fault } }
      const expected =
        (fault === 503 || fault === 'ECONNREFUSED' || fault === 'ECONNRESET') &&
        ((rest.idempotent ?? ['GET', 'PUT'].includes(rest.method)) || fault === 'ECONNREFUSED') &&
        rest.replayable &&
        !rest.answerBegun &&
        rest.attempts < 3 &&
        rest.elapsedMs + rest.waitMs <= 1000
      return (judgeRetry(rules, { ...rest, ...ended }) === 'retry') === expected
    })
    fc.assert(asModel, { numRuns: 1000 })
  })

  t.test('errors are known through their wrapping', async (t) => {
    const refused = Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
    const reset = Object.assign(new Error('reset'), { code: 'ECONNRESET' })
    t.ok(wasNeverSent(new TypeError('fetch failed', { cause: refused })))
    t.ok(wasNeverSent(new AggregateError([refused, refused])))
    t.notOk(wasNeverSent(new AggregateError([refused, reset])), 'one of them was connected')
    t.ok(wasBroken(new AggregateError([refused, reset])))
    t.notOk(wasNeverSent(new AggregateError([])))
    const ours = new VitalsError('VITALS_OWN', 'own', { cause: refused })
    t.notOk(wasBroken(ours), 'an error with a code of its own is judged by that')
    const circular: { cause?: unknown } = {}
    circular.cause = circular
    t.notOk(wasBroken(circular))
  })

  t.test('what can be sent twice is what is in memory', async (t) => {
    const kept = [undefined, null, '', 'a', Buffer.from('a'), new Uint8Array(1), new ArrayBuffer(1)]
    for (const body of [...kept, new URLSearchParams('a=b'), new Blob(['a']), new FormData()]) {
      t.ok(isReplayable(body), Object.prototype.toString.call(body))
    }
    const stream = new ReadableStream()
    const generator = (function* () {
      yield 'a'
    })()
    for (const body of [stream, generator, ['a'][Symbol.iterator](), { pipe: () => undefined }]) {
      t.notOk(isReplayable(body), Object.prototype.toString.call(body))
    }
  })

  t.test('an Idempotency-Key is found in all the forms that undici takes headers in', async (t) => {
    t.ok(hasIdempotencyKey({ 'Idempotency-Key': 'a' }))
    t.ok(hasIdempotencyKey(['accept', '*/*', 'idempotency-key', 'a']))
    t.ok(hasIdempotencyKey(new Map([['IDEMPOTENCY-KEY', 'a']])))
    t.ok(hasIdempotencyKey(new Headers({ 'idempotency-key': 'a' })))
    t.ok(hasIdempotencyKey([['idempotency-key', 'a']]))
    for (const headers of [undefined, null, {}, [], ['a', 'idempotency-key'], new Map()]) {
      t.notOk(hasIdempotencyKey(headers))
    }
    t.notOk(hasIdempotencyKey({ 'idempotency-key': '' }))
    t.notOk(hasIdempotencyKey({ 'idempotency-key': undefined }))
  })
})

t.test('errors as undici really gives them', async (t) => {
  const { origin, close } = await upstream(t, (incoming) => void incoming.socket.destroy())
  const errorOf = (host: string): Promise<unknown> =>
    request(origin.replace('127.0.0.1', host), { method: 'POST' }).then(
      () => undefined,
      (error: unknown) => error
    )

  t.test('a connection that broke is one, though not one that never was', async (t) => {
    const error = await errorOf('127.0.0.1')
    t.ok(wasBroken(error), String(error))
    t.notOk(wasNeverSent(error))
  })

  t.test('a connection refused never was, with one address or several', async (t) => {
    await close()
    for (const host of ['127.0.0.1', 'localhost']) t.ok(wasNeverSent(await errorOf(host)), host)
  })
})
