import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { skipOrFail } from '@fastify-vitals/testing'
import t from 'tap'
import Type from 'typebox'
import { Value } from 'typebox/value'
import { parse } from 'yaml'

const METRIC = 'overload_saturation_ratio'

/** What is in a file of `deploy/`. */
function manifest(file: string): unknown {
  return parse(readFileSync(new URL(`../deploy/${file}`, import.meta.url), 'utf8'))
}

const strict = { additionalProperties: false }
const replicas = Type.Integer({ minimum: 1 })
const target = Type.Object(
  {
    apiVersion: Type.Literal('apps/v1'),
    kind: Type.Literal('Deployment'),
    name: Type.String({ minLength: 1 })
  },
  strict
)
const metadata = Type.Object({ name: Type.String(), namespace: Type.String() }, strict)
const scaling = Type.Object(
  {
    stabilizationWindowSeconds: Type.Integer({ minimum: 0, maximum: 3600 }),
    policies: Type.Array(
      Type.Object(
        {
          type: Type.Union([Type.Literal('Percent'), Type.Literal('Pods')]),
          value: Type.Integer({ minimum: 1 }),
          periodSeconds: Type.Integer({ minimum: 1, maximum: 1800 })
        },
        strict
      ),
      { minItems: 1 }
    )
  },
  strict
)
const behavior = Type.Object({ scaleUp: scaling, scaleDown: scaling }, strict)

/** The fields of autoscaling/v2 that it uses. */
const hpaSchema = Type.Object(
  {
    apiVersion: Type.Literal('autoscaling/v2'),
    kind: Type.Literal('HorizontalPodAutoscaler'),
    metadata,
    spec: Type.Object(
      {
        scaleTargetRef: target,
        minReplicas: replicas,
        maxReplicas: replicas,
        metrics: Type.Tuple([
          Type.Object(
            {
              type: Type.Literal('Pods'),
              pods: Type.Object(
                {
                  metric: Type.Object({ name: Type.Literal(METRIC) }, strict),
                  target: Type.Object(
                    {
                      type: Type.Literal('AverageValue'),
                      // a quantity between 0 and 1
                      averageValue: Type.String({ pattern: '^[1-9]\\d{0,2}m$' })
                    },
                    strict
                  )
                },
                strict
              )
            },
            strict
          )
        ]),
        behavior
      },
      strict
    )
  },
  strict
)

/** The fields of keda.sh/v1alpha1 that it uses. */
const kedaSchema = Type.Object(
  {
    apiVersion: Type.Literal('keda.sh/v1alpha1'),
    kind: Type.Literal('ScaledObject'),
    metadata,
    spec: Type.Object(
      {
        scaleTargetRef: target,
        minReplicaCount: Type.Integer({ minimum: 0 }),
        maxReplicaCount: replicas,
        pollingInterval: Type.Integer({ minimum: 1 }),
        fallback: Type.Object({ failureThreshold: Type.Integer({ minimum: 1 }), replicas }, strict),
        advanced: Type.Object(
          { horizontalPodAutoscalerConfig: Type.Object({ behavior }, strict) },
          strict
        ),
        triggers: Type.Tuple([
          Type.Object(
            {
              type: Type.Literal('prometheus'),
              metricType: Type.Literal('AverageValue'),
              // KEDA takes texts only
              metadata: Type.Object(
                {
                  serverAddress: Type.String({ pattern: '^https?://' }),
                  query: Type.String({ pattern: METRIC }),
                  threshold: Type.String({ pattern: '^0\\.\\d+$' }),
                  ignoreNullValues: Type.Union([Type.Literal('true'), Type.Literal('false')])
                },
                strict
              )
            },
            strict
          )
        ])
      },
      strict
    )
  },
  strict
)

const adapterSchema = Type.Object(
  {
    rules: Type.Object(
      {
        custom: Type.Tuple([
          Type.Object(
            {
              seriesQuery: Type.String({ pattern: `^${METRIC}\\{` }),
              resources: Type.Object({
                overrides: Type.Record(Type.String(), Type.Object({ resource: Type.String() }))
              }),
              name: Type.Object({ matches: Type.String(), as: Type.Literal(METRIC) }, strict),
              metricsQuery: Type.String({ pattern: '<<\\.Series>>\\{<<\\.LabelMatchers>>\\}' })
            },
            strict
          )
        ])
      },
      strict
    )
  },
  strict
)

t.test('the manifests for autoscalers say what their schemas allow', async (t) => {
  const schemas = {
    'hpa.yaml': hpaSchema,
    'keda-scaledobject.yaml': kedaSchema,
    'prometheus-adapter-values.yaml': adapterSchema
  }
  for (const [file, schema] of Object.entries(schemas)) {
    t.strictSame([...Value.Errors(schema, manifest(file))], [], file)
  }
  const hpa = Value.Decode(hpaSchema, manifest('hpa.yaml'))
  const keda = Value.Decode(kedaSchema, manifest('keda-scaledobject.yaml'))
  t.strictSame(keda.spec.scaleTargetRef, hpa.spec.scaleTargetRef)
  const adapter = Value.Decode(adapterSchema, manifest('prometheus-adapter-values.yaml'))
  t.match(METRIC, new RegExp(adapter.rules.custom[0].name.matches))
})

t.test('Prometheus understands the expressions in the manifests', async (t) => {
  const keda = Value.Decode(kedaSchema, manifest('keda-scaledobject.yaml'))
  const adapter = Value.Decode(adapterSchema, manifest('prometheus-adapter-values.yaml'))
  const [{ metricsQuery, seriesQuery }] = adapter.rules.custom
  const expressions = [
    keda.spec.triggers[0].metadata.query,
    seriesQuery,
    metricsQuery
      .replace('<<.Series>>', METRIC)
      .replace('<<.LabelMatchers>>', 'namespace="shop",pod=~"a|b"')
      .replace('<<.GroupBy>>', 'pod')
  ]
  for (const expression of expressions) t.notMatch(expression, /<</)
  const rules = expressions.map((expr, i) => ({ record: `checked:expression${i}`, expr }))
  const file = join(t.testdir(), 'rules.json')
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'deploy', rules }] }))
  const { error, status, stderr } = spawnSync('promtool', ['check', 'rules', file], {
    encoding: 'utf8'
  })
  if (error !== undefined) skipOrFail(t, 'promtool is not installed')
  else t.equal(status, 0, stderr)
})
