import type { Server } from "node:http"
import type { Socket } from "node:net"

/** Open connections of a server, and which of them wait for an answer. */
export interface Connections {
  /**
   * Ends connections on which nothing is asked, also those that never asked anything (browsers open them ahead), and
   * from then on each connection once its answer is sent.
   */
  readonly closeIdle: () => void
  readonly closeAll: () => void
}

/**
 * Node's own `closeIdleConnections` leaves out connections that have not sent a request yet; one of them would hold up
 * a stop until the client gives up.
 */
export const trackConnections = (server: Server): Connections => {
  /** Requests that are being answered, by connection. */
  const open = new Map<Socket, number>()
  let closing = false
  server.on("connection", (socket) => {
    open.set(socket, 0)
    socket.once("close", () => open.delete(socket))
  })
  server.prependListener("request", ({ socket }, response) => {
    open.set(socket, (open.get(socket) ?? 0) + 1)
    response.once("close", () => {
      const left = (open.get(socket) ?? 1) - 1
      if (open.has(socket)) open.set(socket, left)
      if (closing && left === 0) socket.destroySoon()
    })
  })
  return {
    closeIdle: () => {
      closing = true
      for (const [socket, requests] of open) if (requests === 0) socket.destroy()
    },
    closeAll: () => {
      for (const socket of open.keys()) socket.destroy()
    },
  }
}
