/**
 * The rules of the queue (docs/adr/017), one run at a time and without any cleverness: what the tests hold `run_claim` against. Test
 * support only.
 */

export interface ModelRun {
  readonly id: string
  readonly namespace: string
  readonly pipeline: string | null
  readonly priority: number
  readonly key: string
  readonly limit: number
  isDue: boolean
}

interface ModelNamespace {
  weight: number
  maxRunning: number
  got: number
  isOwed: boolean
}

const inOrder = (left: ModelRun, right: ModelRun) => right.priority - left.priority || (left.id < right.id ? -1 : 1)

export class QueueModel {
  readonly namespaces = new Map<string, ModelNamespace>()
  waiting: ReadonlyArray<ModelRun> = []
  running: ReadonlyArray<ModelRun> = []
  #clock = 0

  of(name: string): ModelNamespace {
    const known = this.namespaces.get(name) ?? { weight: 1, maxRunning: 1000, got: 0, isOwed: false }
    this.namespaces.set(name, known)
    return known
  }

  held(namespace: string): number {
    return this.running.filter((run) => run.namespace === namespace).length
  }

  /** Runs of a namespace of which each could start now, in their order. */
  #startable(namespace: string): ReadonlyArray<ModelRun> {
    if (this.held(namespace) >= this.of(namespace).maxRunning) return []
    const due = this.waiting.filter((run) => run.namespace === namespace && run.isDue).toSorted(inOrder)
    const free = due.filter(
      (run) =>
        run.pipeline === null ||
        (!this.running.some((other) => other.pipeline === run.pipeline) &&
          due.find((other) => other.pipeline === run.pipeline) === run),
    )
    // Of the runs with one key, those behind one that has no room wait too.
    const ahead = new Map<string, number>()
    const closed = new Set<string>()
    return free.filter((run) => {
      if (run.key === "") return true
      const before =
        this.running.filter((other) => other.namespace === namespace && other.key === run.key).length +
        (ahead.get(run.key) ?? 0)
      if (before >= run.limit) closed.add(run.key)
      ahead.set(run.key, (ahead.get(run.key) ?? 0) + 1)
      return !closed.has(run.key)
    })
  }

  /** Starts at most `slots` runs, one after the other; ids in that order. */
  claim(slots: number): ReadonlyArray<string> {
    if (this.waiting.length === 0) return []
    const present = new Set([...this.waiting, ...this.running].map((run) => run.namespace))
    const waiting = new Set(this.waiting.map((run) => run.namespace))
    const weights = [...present].reduce((sum, name) => sum + this.of(name).weight, 0)
    const allSlots = slots + this.running.length
    const share = new Map([...present].map((name) => [name, (this.of(name).weight / weights) * allSlots]))
    const got = new Map(
      [...waiting].map((name) => {
        const known = this.of(name)
        return [name, Math.max(known.got, this.#clock - (known.isOwed ? 10 / known.weight : 0))]
      }),
    )
    const candidates = new Set([...waiting].filter((name) => this.#startable(name).length > 0))
    const started: Array<string> = []
    let clock = this.#clock
    while (started.length < slots) {
      const [next] = [...waiting]
        .flatMap((name) => {
          const run = this.#startable(name)[0]
          if (run === undefined) return []
          const tag = got.get(name)! + 1 / this.of(name).weight
          return [{ run, tag, isOver: this.held(name) >= share.get(name)! }]
        })
        .toSorted((a, b) => Number(a.isOver) - Number(b.isOver) || a.tag - b.tag || (a.run.id < b.run.id ? -1 : 1))
      if (next === undefined) break
      const { run, tag } = next
      clock = Math.max(clock, got.get(run.namespace)!)
      got.set(run.namespace, tag)
      this.waiting = this.waiting.filter((other) => other !== run)
      this.running = [...this.running, run]
      started.push(run.id)
    }
    this.#clock = clock
    for (const name of candidates) {
      this.of(name).got = got.get(name)!
      this.of(name).isOwed = this.#startable(name).length > 0
    }
    return started
  }
}
