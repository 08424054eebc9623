import { setTimeout as delay } from "node:timers/promises"
import type { Fault } from "@rat/lakehouse"
import { signal } from "../support/Processes.ts"
import type { Cluster } from "./Cluster.ts"
import type { ClusterNode } from "./ClusterNode.ts"
import type { Act, Card } from "./Deck.ts"

/** A node that went away or fell silent, for those who measure what becomes of its runs. Milliseconds since 1970. */
export interface Loss {
  readonly node: string
  readonly pid: number
  readonly how: "killed" | "paused"
  readonly at: number
}

export interface Stage {
  /** Begins what the card says; it goes on by itself. Answers with what happened to whom, or null when there was nobody. */
  readonly play: (card: Card) => string | null
  /** Resolves when everything that was begun is over, nodes that went down included. */
  readonly clear: () => Promise<void>
  readonly losses: ReadonlyArray<Loss>
  readonly complaints: ReadonlyArray<string>
}

/** From the shorter to the longer one, in milliseconds. */
const spread = (length: number, least: number, most: number) => Math.round(least + length * (most - least))

/** Exit code of a command that Ctrl-C or SIGTERM ended before it did anything. */
const interrupted = 130
const startingMs = 60_000

/** Between two acts on Postgres: what recovers all the time is never seen at work. */
const postgresRestMs = 4_000

/** What a store that is not well does: every third request, each time in another way. */
const troubles: ReadonlyArray<Fault> = [
  { status: 503, code: "SlowDown" },
  { status: 500, code: "InternalError" },
  "reset",
  "lose-answer",
  "truncate",
]

/** Performs acts. What happens to one node is over before something else happens to that node. */
export const openStage = (cluster: Cluster): Stage => {
  const losses: Array<Loss> = []
  const complaints: Array<string> = []
  const busy = new Set<string>()
  const open = new Set<Promise<void>>()
  let isPostgresBusy = false
  let isStoreBusy = false

  const background = (work: Promise<void>, what: string) => {
    const guarded = work.catch((error: unknown) => void complaints.push(`${what}: ${String(error)}`))
    open.add(guarded)
    void guarded.finally(() => open.delete(guarded))
  }
  const choose = <A>(from: ReadonlyArray<A>, target: number): A | undefined => from[Math.floor(target * from.length)]
  const lose = (node: ClusterNode, how: Loss["how"]) =>
    losses.push({ node: node.name, pid: node.pid(), how, at: Date.now() })

  type OnNode = (node: ClusterNode, length: number) => Promise<void>
  /** At most half of the nodes are away at the same time: others have to be there to take over. */
  const away = new Set<string>()
  const leaving =
    (act: OnNode): OnNode =>
    async (node, length) => {
      away.add(node.name)
      await act(node, length).finally(() => away.delete(node.name))
    }
  const mayLeave = () => (away.size + 1) * 2 <= cluster.nodes.length || cluster.nodes.length === 1
  const onNode =
    (act: OnNode, isFit: (node: ClusterNode) => boolean = () => true) =>
    ({ act: name, length, target }: Card): string | null => {
      const fit = cluster.nodes.filter((node) => node.isUp() && !busy.has(node.name) && isFit(node))
      const node = choose(fit, target)
      if (node === undefined) return null
      busy.add(node.name)
      background(
        act(node, length).finally(() => busy.delete(node.name)),
        `${name} (${node.name})`,
      )
      return node.name
    }

  const onPostgres = (act: (length: number) => Promise<void>) => (card: Card) => {
    if (isPostgresBusy) return null
    isPostgresBusy = true
    background(
      act(card.length)
        .then(() => delay(postgresRestMs))
        .finally(() => {
          isPostgresBusy = false
        }),
      card.act,
    )
    return "Postgres"
  }

  const onStore = (act: (length: number) => Promise<void>) => (card: Card) => {
    if (isStoreBusy || !hasFarStore()) return null
    isStoreBusy = true
    background(
      act(card.length).finally(() => {
        isStoreBusy = false
      }),
      card.act,
    )
    return "store"
  }

  const onSlot = (act: (slot: number, length: number) => Promise<void>) => (card: Card) => {
    const slot = choose(
      cluster.nodes.flatMap((node) => node.slots()),
      card.target,
    )
    if (slot === undefined) return null
    background(act(slot, card.length), card.act)
    return `slot ${slot}`
  }

  /** One sort of weather on the way from one node for a while. */
  const weather = (
    set: Cluster["setWeather"],
    make: (length: number) => Parameters<Cluster["setWeather"]>[1],
    longestMs: number,
  ) =>
    onNode(
      async (node, length) => {
        set(node, make(length))
        await delay(spread(length, 500, longestMs))
        set(node, "pass")
      },
      () => set === cluster.setWeather || hasFarStore(),
    )
  /** A folder is never far away. */
  const hasFarStore = () => cluster.store.kind !== "folder"
  const storeWeather: Cluster["setWeather"] = (node, kind) => cluster.store.setWeather(node.name, kind)

  const acts: Readonly<Record<Act, (card: Card) => string | null>> = {
    "kill a node": onNode(
      leaving(async (node, length) => {
        lose(node, "killed")
        await node.kill()
        await delay(spread(length, 100, 8_000))
        await node.start()
      }),
      mayLeave,
    ),
    "pause a node": onNode(
      leaving(async (node, length) => {
        lose(node, "paused")
        node.pause()
        await delay(spread(length, 300, 12_000))
        node.resume()
      }),
      mayLeave,
    ),
    "drain a node": onNode(
      leaving(async (node, length) => {
        const age = Date.now() - node.lives.at(-1)!.startedAt
        const code = await node.stop()
        // One that was still starting is interrupted in that.
        if (code !== 0 && !(code === interrupted && age < startingMs)) {
          complaints.push(`node ${node.name} was asked to stop and ended with ${code}`)
        }
        await delay(spread(length, 0, 3_000))
        await node.start()
      }),
      mayLeave,
    ),
    "kill a slot": onSlot(async (slot) => signal(slot, "SIGKILL")),
    "pause a slot": onSlot(async (slot, length) => {
      signal(slot, "SIGSTOP")
      await delay(spread(length, 200, 4_000))
      signal(slot, "SIGCONT")
    }),
    "kill Postgres": onPostgres(async (length) => {
      await cluster.postgres.kill()
      await delay(spread(length, 0, 3_000))
      await cluster.postgres.start()
    }),
    "stop Postgres": onPostgres(async (length) => {
      await cluster.postgres.stopAtOnce()
      await delay(spread(length, 0, 3_000))
      await cluster.postgres.start()
    }),
    "end sessions": onPostgres(async (length) => {
      await cluster.database.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend' and application_name <> 'chaos' and random() < $1",
        [0.2 + length],
      )
    }),
    "reset sessions": onNode(async (node) => cluster.resetSessions(node)),
    "slow Postgres": weather(cluster.setWeather, (length) => ({ latencyMs: spread(length, 20, 300) }), 6_000),
    "cut off Postgres": weather(cluster.setWeather, () => "hold", 12_000),
    "refuse Postgres": weather(cluster.setWeather, () => "refuse", 6_000),
    "slow store": weather(storeWeather, (length) => ({ latencyMs: spread(length, 20, 300) }), 6_000),
    "reset store": onNode(async (node) => cluster.store.reset(node.name), hasFarStore),
    "cut off store": weather(storeWeather, () => "hold", 12_000),
    "break store": onStore(async (length) => {
      let nth = 0
      cluster.store.setTrouble(() => (nth++ % 3 === 0 ? troubles[((nth / 3) % troubles.length) | 0]! : "conditional"))
      await delay(spread(length, 1_000, 8_000))
      cluster.store.setTrouble(undefined)
    }),
    "store away": onStore(async (length) => {
      cluster.store.setTrouble(() => "reset")
      await delay(spread(length, 5_000, 60_000))
      cluster.store.setTrouble(undefined)
    }),
  }

  return {
    play: (card) => acts[card.act](card),
    clear: async () => {
      while (open.size > 0) await Promise.all(open)
    },
    losses,
    complaints,
  }
}
