import { spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually } from './eventually.ts'
import { freePort } from './sockets.ts'

/** What a test needs of tap here. */
interface Test {
  fail(message: string): unknown
  comment(message: string): unknown
}

/** A part that a test needs is not here: a skip with one line, but a failure in CI. */
export function skipOrFail(t: Test, reason: string): void {
  if (process.env.CI === 'true') t.fail(reason)
  else t.comment(`skipped: ${reason}`)
}

/** What `promtool check metrics` says of an exposition; `undefined` when it is not installed. */
export function promtoolCheck(exposition: string): { code: number; output: string } | undefined {
  const { error, status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: exposition,
    encoding: 'utf8'
  })
  return error === undefined ? { code: status ?? 1, output: stdout + stderr } : undefined
}

/** A page's document after its scripts have run, in a real browser; `undefined` when there is none. */
export async function chromiumDom(url: string): Promise<string | undefined> {
  const profile = await mkdtemp(join(tmpdir(), 'chromium-'))
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-sync']
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-quic']
  const browser = spawn(
    'chromium',
    [...flags, ...quiet, `--user-data-dir=${profile}`, '--dump-dom', url],
    {
      stdio: ['ignore', 'pipe', 'ignore']
    }
  )
  let dom = ''
  browser.stdout.on('data', (chunk) => (dom += chunk))
  const isThere = await new Promise<boolean>((resolve) => {
    browser.once('error', () => resolve(false))
    browser.once('close', () => resolve(true))
  })
  await rm(profile, { recursive: true, force: true, maxRetries: 5 })
  return isThere ? dom : undefined
}

/** A real Prometheus that scrapes one target every second. */
export interface Prometheus {
  /** Value of the first result of a PromQL expression; `undefined` when there is none. */
  query(expression: string): Promise<number | undefined>
  stop(): Promise<void>
}

/** @returns `undefined` when Prometheus is not installed */
export async function startPrometheus(targetPort: number): Promise<Prometheus | undefined> {
  if (spawnSync('prometheus', ['--version']).error !== undefined) return undefined
  const directory = await mkdtemp(join(tmpdir(), 'prometheus-'))
  const config = join(directory, 'prometheus.yml')
  await writeFile(config, configFor(targetPort))
  const port = await freePort()
  const server = spawn(
    'prometheus',
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=127.0.0.1:${port}`,
      '--enable-feature=native-histograms'
    ],
    { stdio: 'ignore' }
  )
  const origin = `http://127.0.0.1:${port}`
  await eventually(
    async () =>
      await fetch(`${origin}/-/ready`).then(
        ({ ok }) => ok,
        () => false
      ),
    20_000
  )
  return {
    query: async (expression) => await query(origin, expression),
    async stop() {
      const ended = new Promise((resolve) => server.once('exit', resolve))
      server.kill()
      await ended
      await rm(directory, { recursive: true, force: true })
    }
  }
}

function configFor(port: number): string {
  return `global: { scrape_interval: 1s }
scrape_configs:
  - job_name: app
    static_configs: [{ targets: ['127.0.0.1:${port}'] }]
`
}

async function query(origin: string, expression: string): Promise<number | undefined> {
  const response = await fetch(`${origin}/api/v1/query?query=${encodeURIComponent(expression)}`)
  const { data, error } = (await response.json()) as {
    data?: { result: { value: [number, string] }[] }
    error?: string
  }
  if (error !== undefined) throw new Error(`${expression}: ${error}`)
  const text = data?.result[0]?.value[1]
  return text === undefined ? undefined : Number(text)
}
