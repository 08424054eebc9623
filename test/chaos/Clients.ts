import { setTimeout as delay } from "node:timers/promises"
import { ConnectionError, RatClient, RatError, TimeoutError } from "@rat/client"
import type { ClusterNode } from "./ClusterNode.ts"
import type { Dice } from "./Dice.ts"
import type { LedgerWriter } from "./Ledger.ts"
import { keyOf, layer, namespaces, type Pipeline, pipelines, zones } from "./Workload.ts"

export interface ClientOptions {
  /** Nodes that answer HTTP. Clients go to any of them and to another one when it does not answer. */
  readonly nodes: ReadonlyArray<ClusterNode>
  readonly ledger: LedgerWriter
  readonly dice: Dice
  /** Clients that submit, each one thing after the other. */
  readonly count: number
  /** Longest pause between two submissions of a client. */
  readonly pauseMs: number
  /** Accepted runs after which nobody submits any more. */
  readonly runs: number
}

const callMs = 8_000
/** How long a client goes on asking about something whose answer it has not got. */
const patienceMs = 180_000
const uploadsLimit = 25

const isLost = (error: unknown): boolean => error instanceof ConnectionError || error instanceof TimeoutError

const kindOf = (error: unknown) => (error instanceof RatError && error.status !== 0 ? String(error.status) : "none")

const isReadBy = (read: Pipeline, reader: Pipeline) =>
  reader.kind === "whole" && reader.namespace === read.namespace && reader.of === read.name

/** Makes namespaces, zones and pipelines, and what other pipelines cannot do without: a file and a table to read. */
export const pushWorkload = async (client: RatClient, ledger: LedgerWriter): Promise<void> => {
  for (const namespace of namespaces) {
    if (namespace !== "default") await client.namespaces.create(namespace)
  }
  for (const { namespace, name } of zones) await client.landing.create({ namespace, name })
  for (const namespace of namespaces) {
    const files = pipelines.filter((pipeline) => pipeline.namespace === namespace).flatMap(({ files }) => files)
    await client.projects.push(namespace, { files })
  }
  for (const { namespace, name } of zones) {
    await client.landing.upload(namespace, name, "first.csv", new Blob(["upload,amount\nfirst,1\n"]))
    ledger.upload("first", { zone: name, amount: 1, isAcknowledged: true })
  }
  for (const pipeline of pipelines.filter((read) => pipelines.some((reader) => isReadBy(read, reader)))) {
    const { namespace, name } = pipeline
    const key = `first-${name}`
    const { run_id } = await client.runs.create({ namespace, layer, pipeline: name }, { idempotencyKey: key })
    ledger.accept(key, { run: run_id, pipeline: keyOf(pipeline), uploads: [] }, "first")
    const { status, error } = await client.runs.wait(run_id)
    ledger.see(run_id, status)
    if (status !== "success") throw new Error(`the first run of ${name} ended as ${status}: ${error}`)
  }
}

/** The people: they submit, cancel, upload, follow and look, and remember what they were told. */
export const startClients = (options: ClientOptions) => {
  const { ledger } = options
  const clients = options.nodes.map(
    (node) => [node.name, new RatClient({ apiUrl: node.url, timeoutMs: callMs, maxRetries: 0 })] as const,
  )
  let isOver = false
  let begun = 0
  const visits = new Set<Promise<void>>()

  /** What must never be answered: an error of the server's own making, or a refusal that nothing explains. */
  const judge = (error: unknown, what: string) => {
    const kind = kindOf(error)
    ledger.answer(kind)
    if (kind === "500" || kind === "501") ledger.complain(`${what} was answered with ${kind}: ${String(error)}`)
  }

  /** Asks one node after the other until one gives an answer that `settles`. Undefined: nobody did in time. */
  const persist = async <A>(
    dice: Dice,
    what: string,
    ask: (client: RatClient, node: string) => Promise<A>,
    settles: (error: unknown) => A | undefined = () => undefined,
  ): Promise<A | undefined> => {
    const deadline = performance.now() + patienceMs
    for (let turn = dice.between(0, clients.length - 1); performance.now() < deadline; turn++) {
      const [node, client] = clients[turn % clients.length]!
      try {
        const answer = await ask(client, node)
        ledger.answer("ok")
        return answer
      } catch (error) {
        const settled = settles(error)
        if (settled !== undefined) {
          ledger.answer(kindOf(error))
          return settled
        }
        judge(error, what)
        const isBusy = error instanceof RatError && error.status === 429
        await delay(isLost(error) ? dice.between(20, 200) : dice.between(200, isBusy ? 1500 : 600))
      }
    }
    return undefined
  }

  const upload = async (dice: Dice, name: string) => {
    const zone = zones[0]
    const amount = dice.between(1, 1000)
    const file = new Blob([`upload,amount\n${name},${amount}\n`], { type: "text/csv" })
    // A lost answer leaves open whether the file is there: no second try.
    const [node, client] = dice.pick(clients as unknown as readonly [(typeof clients)[number]])
    ledger.upload(name, { zone: zone.name, amount, isAcknowledged: false })
    const sent = await client.landing.upload(zone.namespace, zone.name, `${name}.csv`, file).then(
      () => true,
      (error: unknown) => {
        judge(error, `upload to ${node}`)
        return false
      },
    )
    if (sent) ledger.upload(name, { zone: zone.name, amount, isAcknowledged: true })
  }

  const submit = async (dice: Dice, key: string, pipeline: Pipeline) => {
    const uploads = Array.from(ledger.uploads).flatMap(([name, { isAcknowledged }]) => (isAcknowledged ? [name] : []))
    const create = (client: RatClient, node: string) => {
      ledger.asked(key)
      return client.runs
        .create({ namespace: pipeline.namespace, layer, pipeline: pipeline.name }, { idempotencyKey: key })
        .then(({ run_id }) => {
          ledger.accept(key, { run: run_id, pipeline: keyOf(pipeline), uploads }, node)
          return run_id
        })
    }
    const run = await persist(dice, `run of ${pipeline.name}`, create)
    if (run === undefined) return undefined
    // Somebody whose answer was lost on the way asks again, at any node.
    if (dice.roll() < 0.1) await persist(dice, `run of ${pipeline.name} again`, create)
    // What was acknowledged is there for everybody at once.
    if (dice.roll() < 0.1) {
      const seen = await persist<string>(
        dice,
        `look at run ${run}`,
        (client) => client.runs.get(run).then(({ status }) => status),
        (error) => (error instanceof RatError && error.status === 404 ? "missing" : undefined),
      )
      if (seen === "missing") ledger.complain(`run ${run} was acknowledged and is not found`)
      else if (seen !== undefined) ledger.see(run, seen)
    }
    return run
  }

  const cancel = async (dice: Dice, run: string) => {
    await delay(dice.between(0, 800))
    ledger.want(run)
    const outcome = await persist<string>(
      dice,
      `cancel of ${run}`,
      (client) => client.runs.cancel(run).then(() => "cancelled"),
      (error) => (error instanceof RatError && error.status === 409 ? "ended" : undefined),
    )
    if (outcome === "cancelled") ledger.cancel(run)
  }

  /** Begins something and leaves before it is done. */
  const visit = (dice: Dice, begin: (signal: AbortSignal) => Promise<unknown>) => {
    const signal = AbortSignal.timeout(dice.between(50, 3000))
    const visiting = begin(signal).then(
      () => {},
      (error: unknown) => {
        if (!signal.aborted) judge(error, "a visit")
      },
    )
    visits.add(visiting)
    void visiting.finally(() => visits.delete(visiting))
  }

  const anyone = (dice: Dice) => clients[dice.between(0, clients.length - 1)]![1]

  const follow = (dice: Dice, run: string) =>
    visit(dice, async (signal) => {
      for await (const update of anyone(dice).runs.follow(run, { signal })) {
        if (update.type === "status") ledger.see(run, update.status)
      }
    })

  /** A run's rows become visible all at once. */
  const peek = (dice: Dice, pipeline: Pipeline) =>
    visit(dice, async (signal) => {
      if (pipeline.kind !== "append") return
      const sql = `select run, count(*)::integer from ${layer}.${pipeline.name} group by run having count(*) <> ${pipeline.rows}`
      const { rows } = await anyone(dice).query.arrays({ sql, namespace: pipeline.namespace }, { signal })
      if (rows.length > 0)
        ledger.complain(`a query of ${pipeline.name} saw a part of a run: ${JSON.stringify(rows[0])}`)
    })

  const busy = async (name: string) => {
    const dice = options.dice.of(name)
    for (let number = 0; !isOver && begun < options.runs; number++) {
      begun++
      // Drawn before anything is asked, so that the answers do not change what is asked next.
      const pipeline = dice.pick(pipelines)
      const manner = dice.roll()
      const own = dice.of(`${name}-${number}`)
      if (pipeline.kind === "landing" && ledger.uploads.size < uploadsLimit) await upload(own, `${name}-${number}`)
      const run = await submit(own, `${name}-${number}`, pipeline)
      if (run !== undefined) {
        if (manner < 0.08) await cancel(own, run)
        else if (manner < 0.2) follow(own, run)
        else if (manner < 0.3) peek(own, pipeline)
      }
      await delay(own.between(0, options.pauseMs))
    }
  }
  const everybody = Promise.all(Array.from({ length: options.count }, (_, index) => busy(`client${index + 1}`)))

  return {
    /** Resolves when all runs are submitted. */
    done: everybody.then(() => {}),
    /** Resolves when all runs are submitted and everybody has gone. */
    leaveWhenDone: async () => {
      await everybody
      await Promise.all(visits)
    },
    /** No more submissions; resolves when everybody has gone. */
    leave: async () => {
      isOver = true
      await Promise.all([everybody, ...visits])
    },
  }
}
