import { createServer, type Socket, connect as toServer } from "node:net"

/** What happens to the bytes of all connections of a proxy, present and future. */
export type Weather =
  | { readonly kind: "clear" }
  /** Every chunk arrives this much later, in both directions. */
  | { readonly kind: "slow"; readonly ms: number }
  /** Nothing arrives any more and nobody is told, as when a cable is cut. What was under way arrives once it is clear again. */
  | { readonly kind: "black hole" }
  /** New connections are reset at once, those that are open too. */
  | { readonly kind: "refusing" }

export interface TcpProxy {
  readonly port: number
  readonly set: (weather: Weather) => void
  /** Resets all open connections; answers with how many. */
  readonly reset: () => number
  readonly close: () => Promise<void>
}

interface Link {
  readonly client: Socket
  readonly server: Socket
}

/** A TCP proxy on a free loopback port. It knows nothing of what it carries: Postgres, HTTP, anything. */
export const makeTcpProxy = async (targetPort: number): Promise<TcpProxy> => {
  let weather: Weather = { kind: "clear" }
  const links = new Set<Link>()

  const pump = (from: Socket, to: Socket) => {
    from.on("data", (chunk) => {
      const pass = () => {
        if (!to.destroyed && !to.write(chunk)) from.pause()
      }
      if (weather.kind === "slow") setTimeout(pass, weather.ms)
      else pass()
    })
    to.on("drain", () => {
      if (weather.kind !== "black hole") from.resume()
    })
    from.on("end", () => {
      // Behind the chunks that are still late.
      if (weather.kind === "slow") setTimeout(() => to.end(), weather.ms)
      else to.end()
    })
  }
  const cut = ({ client, server }: Link) => {
    client.resetAndDestroy()
    server.resetAndDestroy()
  }

  const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.on("error", () => {})
    if (weather.kind === "refusing") {
      client.resetAndDestroy()
      return
    }
    const server = toServer({ port: targetPort, host: "127.0.0.1", allowHalfOpen: true, noDelay: true })
    const link = { client, server }
    links.add(link)
    server.on("error", () => client.resetAndDestroy())
    client.on("error", () => server.resetAndDestroy())
    for (const end of [client, server]) end.on("close", () => links.delete(link))
    client.on("close", () => server.destroy())
    server.on("close", () => client.destroy())
    pump(client, server)
    pump(server, client)
    if (weather.kind === "black hole") {
      client.pause()
      server.pause()
    }
  })
  const port = await new Promise<number>((resolve, reject) => {
    listener.once("error", reject)
    listener.listen(0, "127.0.0.1", () => resolve((listener.address() as { port: number }).port))
  })

  const reset = () => {
    const count = links.size
    for (const link of links) cut(link)
    return count
  }
  return {
    port,
    set: (next) => {
      weather = next
      if (next.kind === "refusing") reset()
      for (const { client, server } of links) {
        for (const end of [client, server]) next.kind === "black hole" ? end.pause() : end.resume()
      }
    },
    reset,
    close: () =>
      new Promise((resolve) => {
        listener.close(() => resolve())
        reset()
      }),
  }
}
