// An upstream that answers at once, in a process of its own.
import { createServer } from 'node:http'

const BODY = JSON.stringify({ id: 1, name: 'a product', price: 12.5 })

const server = createServer((_request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(BODY)
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined })
})
