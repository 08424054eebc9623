import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { Effect, type Scope } from "effect"

/**
 * What happens to bytes on their way, in both directions.
 * - `pass`: nothing.
 * - `lose`: they vanish, and so does the connection's end. Nobody is told. New connections are taken and never answered.
 * - `hold`: they wait until the rule changes, as in a network that is gone for a while.
 * - `refuse`: connections are cut, with a reset; new ones as well.
 * - a number: they arrive so many milliseconds later.
 */
export type TcpFault = "pass" | "lose" | "hold" | "refuse" | { readonly latencyMs: number }

export interface TcpFaultProxy {
  readonly port: number
  /** Connections at this moment. */
  readonly open: () => number
  /** From now on, for all connections. Those that lost bytes never work again. */
  readonly rule: (fault: TcpFault) => void
  /** For the connections that exist now only; new ones pass. */
  readonly ruleExisting: (fault: TcpFault) => void
  /** Cuts all connections with a reset. */
  readonly reset: () => void
}

class Link {
  private readonly ends: readonly [Socket, Socket]
  private held: Array<() => void> = []
  /** What arrives later, in order: bytes never overtake each other, whatever the rule is by then. */
  private readonly late: Array<{ readonly at: number; readonly act: () => void }> = []
  private hasLost = false
  fault: TcpFault

  constructor(client: Socket, server: Socket, fault: TcpFault) {
    this.ends = [client, server]
    this.fault = fault
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.on("data", (bytes) => this.pass(() => to.write(bytes)))
      from.on("end", () => this.pass(() => to.end()))
      from.on("error", () => this.pass(() => to.destroy()))
      from.on("close", () => this.pass(() => to.destroy()))
    }
  }

  private pass(act: () => void): void {
    if (this.hasLost) return
    if (this.fault === "lose") {
      this.hasLost = true
    } else if (this.fault === "hold" || this.held.length > 0) this.held.push(act)
    else if (typeof this.fault === "object") this.delay(act, this.fault.latencyMs)
    else if (this.late.length > 0) this.delay(act, 0)
    else act()
  }

  private delay(act: () => void, ms: number): void {
    this.late.push({ at: performance.now() + ms, act })
    if (this.late.length === 1) this.arrive()
  }

  private arrive(): void {
    const next = this.late[0]
    if (next === undefined) return
    setTimeout(
      () => {
        this.late.shift()
        next.act()
        this.arrive()
      },
      Math.max(0, next.at - performance.now()),
    )
  }

  set(fault: TcpFault): void {
    this.fault = fault
    if (fault === "refuse") this.reset()
    if (fault === "hold") return
    const held = this.held
    this.held = []
    for (const act of held) this.pass(act)
  }

  reset(): void {
    for (const end of this.ends) end.resetAndDestroy()
  }
}

/** A real TCP proxy on a free loopback port that loses, holds, delays and cuts what the test tells it to. */
export const makeTcpFaultProxy = (upstream: {
  readonly host: string
  readonly port: number
}): Effect.Effect<TcpFaultProxy, never, Scope.Scope> =>
  Effect.gen(function* () {
    const links = new Set<Link>()
    let current: TcpFault = "pass"
    const server = createServer({ allowHalfOpen: true }, (client) => {
      client.setNoDelay(true)
      if (current === "refuse") return client.resetAndDestroy()
      const onward = connect({ ...upstream, allowHalfOpen: true, noDelay: true })
      const link = new Link(client, onward, current)
      links.add(link)
      client.on("close", () => links.delete(link))
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      }),
      () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          for (const link of links) link.reset()
        }),
    )
    return {
      port: (server.address() as AddressInfo).port,
      open: () => links.size,
      rule: (fault) => {
        current = fault
        for (const link of links) link.set(fault)
      },
      ruleExisting: (fault) => {
        for (const link of links) link.set(fault)
      },
      reset: () => {
        for (const link of links) link.reset()
      },
    }
  })
