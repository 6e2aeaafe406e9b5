import { VitalsError } from '@fastify-vitals/metrics'

/** What was wrong with it. */
export type BlockedReason = 'invalid_url' | 'protocol' | 'credentials' | 'address'

const PROBLEMS: Readonly<Record<BlockedReason, string>> = {
  invalid_url: 'it is no URL',
  protocol: 'its protocol is not allowed',
  credentials: 'it carries a user name or a password',
  address: 'it leads to an address that is not public'
}

/**
 * The SSRF guard refused an outbound call: nothing was sent, and no connection was made. Never retry it.
 * The message names the host, and not the address it has: that is not for whoever gave the URL.
 * Answered 502 when nobody catches it.
 */
export class BlockedAddressError extends VitalsError {
  readonly statusCode: number = 502
  readonly reason: BlockedReason
  /** Host or URL that was refused, without credentials and cut to 200 characters. */
  readonly target: string
  /** Address it has, for the log; `undefined` when it was not looked up. */
  readonly address: string | undefined

  constructor(reason: BlockedReason, target: string, address?: string) {
    const shown = target.slice(0, 200)
    super('VITALS_ADDRESS_BLOCKED', `call to "${shown}" was blocked: ${PROBLEMS[reason]}`)
    this.name = 'BlockedAddressError'
    this.reason = reason
    this.target = shown
    this.address = address
  }
}
