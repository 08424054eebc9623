import type { ConnectionOptions, TlsOptions } from "node:tls"
import { Redacted } from "effect"

/**
 * TLS with a pre-shared key (RFC 4279, RFC 5487): both sides prove that they hold the cluster's key, and nobody in between
 * reads or changes what they say. No certificates that somebody would have to renew.
 */

const identity = "rat"
/** Node speaks pre-shared keys in TLS 1.2 only. Ephemeral keys: a cluster key that leaks later opens nothing that was said before. */
const suites = {
  ciphers: "ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-GCM-SHA384",
  minVersion: "TLSv1.2",
  maxVersion: "TLSv1.2",
} as const

/** `protocols`: what is spoken at this port, chosen by ALPN (RFC 7301). */
export const serverTls = (key: Redacted.Redacted<Buffer>, protocols: ReadonlyArray<string>): TlsOptions => ({
  ...suites,
  dhparam: "auto",
  ALPNProtocols: [...protocols],
  pskCallback: (_socket, client) => (client === identity ? Redacted.value(key) : null),
})

export const clientTls = (key: Redacted.Redacted<Buffer>, protocol: string): ConnectionOptions => ({
  ...suites,
  ALPNProtocols: [protocol],
  // The key is the proof; there is no certificate with a name in it.
  checkServerIdentity: () => undefined,
  pskCallback: () => ({ psk: Redacted.value(key), identity }),
})
