import { setTimeout as delay } from "node:timers/promises"
import { RatClient, type RunUpdate } from "@rat/client"
import { chaosPipelines } from "./ChaosProject.ts"
import type { Dice } from "./Dice.ts"

const terminal: ReadonlySet<string> = new Set(["success", "failed", "cancelled"])

/** Tries of one submission until it counts as refused; a server that starts again takes a few seconds. */
const maxTries = 40
const newest = 20

/** The people: they submit runs all the time and remember what they were told. */
export const makeClients = (options: { readonly url: string; readonly dice: Dice; readonly pauseMs: number }) => {
  const { dice, pauseMs } = options
  const client = new RatClient({ apiUrl: options.url, timeoutMs: 10_000, maxRetries: 1 })
  const accepted = new Map<string, string>()
  const ends = new Map<string, string>()
  const complaints: Array<string> = []
  const visits: Array<Promise<void>> = []
  let isOver = false

  const sawStatus = (id: string, status: string) => {
    if (!terminal.has(status)) return
    const before = ends.get(id)
    if (before !== undefined && before !== status) complaints.push(`run ${id} was ${before} and then ${status}`)
    ends.set(id, status)
  }

  const submit = async (key: string) => {
    const { name: pipeline } = dice.pick(chaosPipelines)
    const create = () =>
      client.runs
        .create({ namespace: "default", layer: "silver", pipeline }, { idempotencyKey: key })
        .catch(() => undefined)
    for (let tries = 0; tries < maxTries && !accepted.has(key); tries++) {
      const answer = await create()
      if (answer !== undefined) accepted.set(key, answer.run_id)
      // The queue is full or the server away, in which case it may or may not have arrived.
      else await delay(dice.between(100, 500))
    }
    const first = accepted.get(key)
    if (first === undefined || dice.roll() > 0.1) return
    const again = await create()
    if (again !== undefined && again.run_id !== first) {
      complaints.push(`key ${key} made the runs ${first} and ${again.run_id}`)
    }
  }

  const busy = async (name: string) => {
    for (let number = 0; !isOver; number++) {
      await submit(`${name}-${number}`)
      await delay(dice.between(0, pauseMs))
    }
  }
  const everybody = Promise.all(["one", "two", "three"].map(busy))

  return {
    client,
    accepted,
    ends,
    complaints,
    sawStatus,
    sawUpdate: (id: string, update: RunUpdate) => {
      if (update.type === "status") sawStatus(id, update.status)
    },
    someRun: () => {
      const recent = Array.from(accepted.values()).slice(-newest)
      return recent[dice.between(0, recent.length - 1)]
    },
    /** Begins something and leaves before it is done. */
    visit: (begin: (signal: AbortSignal) => Promise<unknown>) => {
      const signal = AbortSignal.timeout(dice.between(1, 800))
      visits.push(
        begin(signal).then(
          () => {},
          () => {}, // left, or nobody answered
        ),
      )
    },
    /** No more submissions; resolves when everybody has gone. */
    leave: async () => {
      isOver = true
      await Promise.all([everybody, ...visits])
    },
  }
}

export type Clients = ReturnType<typeof makeClients>
