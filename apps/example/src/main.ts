import { buildApp } from './app.ts'
import { readSettings } from './settings.ts'

const STOP_WITHIN_MS = 10_000

try {
  const settings = readSettings(process.env)
  const app = await buildApp(settings)
  const address = await app.listen({ host: settings.host, port: settings.port })
  console.log(`shop: serving on ${address}`)
  console.log(`shop: metrics at ${address}/metrics, health at ${address}/health`)
  if (settings.adminToken === undefined) {
    console.log('shop: admin routes are off; set ADMIN_TOKEN to use them')
  }
  process.send?.({ address })
  const stop = stopper(async () => {
    // a connection that falls idle meanwhile would be kept open for its next request
    setInterval(() => app.server.closeIdleConnections(), 50).unref()
    await app.close()
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, stop)
  process.on('disconnect', stop)
} catch (error) {
  console.error(`shop: ${tell(error)}`)
  process.exitCode = 1
  // what was opened before it failed must not keep the process
  setTimeout(() => process.exit(), 1000).unref()
}

/** Finishes what is under way, for at most ten seconds; asked again, goes at once. */
function stopper(close: () => Promise<void>): () => void {
  let isStopping = false
  return () => {
    if (isStopping) process.exit(1)
    isStopping = true
    setTimeout(() => {
      console.error(`shop: requests still under way after ${STOP_WITHIN_MS} ms were cut off`)
      process.exit(1)
    }, STOP_WITHIN_MS).unref()
    close().then(
      () => process.exit(0),
      (error: unknown) => {
        console.error(`shop: ${tell(error)}`)
        process.exit(1)
      }
    )
  }
}

function tell(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') return 'the port is in use; choose another one with PORT'
  if (code === 'ECONNREFUSED') return 'the database at DATABASE_URL is out of reach'
  return message
}
