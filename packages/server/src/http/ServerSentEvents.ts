/** The wire form of server-sent events (HTML standard, section 9.2), the same for every stream of this server. */

/** `data` is JSON, which holds no line breaks. Without a name it is a `message`. */
export const sseEvent = (event: {
  readonly name?: string
  readonly id?: string | number
  readonly json: string
}): string =>
  `${event.id === undefined ? "" : `id: ${event.id}\n`}${event.name === undefined ? "" : `event: ${event.name}\n`}data: ${event.json}\n\n`

/** A comment line now and then keeps proxies from closing a quiet connection. */
export const heartbeat = ": keep-alive\n\n"

/** Told to clients of a server that stops. */
export const farewell = ": the server is stopping, reconnect\n\n"

/** No cache and no proxy may hold events back. */
export const eventStreamHeaders = { "cache-control": "no-cache, no-transform", "x-accel-buffering": "no" }
