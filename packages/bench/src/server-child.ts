// A server process: serves one variant, and tells the processor time between "start" and "stop".
import { buildApp, variantNamed } from './variants.ts'

const app = await buildApp(variantNamed(process.argv[2] ?? ''))
await app.listen({ port: 0, host: '127.0.0.1' })
let before = process.cpuUsage()
process.on('message', (message) => {
  if (message === 'start') before = process.cpuUsage()
  else {
    const { user, system } = process.cpuUsage(before)
    process.send?.({ cpuUs: user + system })
  }
})
const address = app.server.address()
process.send?.({ port: typeof address === 'object' ? address?.port : undefined })
