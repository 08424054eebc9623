import { type CommitId, type RefName, RefNotFound, type TableKey } from "@rat/domain"
import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import type { Commit } from "../catalog/Catalog.ts"
import {
  type Ask,
  type Content,
  Contents,
  celText,
  EntryPage,
  idOf,
  isMissing,
  isRefusedName,
  type LogEntry,
  LogPage,
  property,
  refPath,
  toCommit,
  toTableKey,
  touches,
} from "./NessieApi.ts"
import { type NessieRefused, unexpected } from "./NessieClient.ts"
import type { NessieVersions, Placed } from "./NessieVersions.ts"

/** Entries of one answer. */
const pageSize = 1000

export const elementsOf = (key: TableKey): ReadonlyArray<string> => [key.namespace, key.layer, key.name]
const textOf = (elements: ReadonlyArray<string>) => elements.join("\u0000")

/** What a ref (or a commit) holds at some keys, all as of one commit. */
export interface Held {
  readonly hash: string
  readonly isBranch: boolean
  readonly at: (elements: ReadonlyArray<string>) => Content | undefined
}

interface TableFilter {
  readonly namespace?: string
  readonly layer?: string
}

/** Tables and commits of a Nessie server. */
export const makeNessieReads = (ask: Ask, versions: NessieVersions, noAncestor: string) => {
  /** A ref that is not there, and refusals that nobody expects. */
  const orMissing =
    (ref: string) =>
    <A, E, R>(effect: Effect.Effect<A, E | NessieRefused, R>) =>
      Effect.catchIf(
        effect,
        (error): error is NessieRefused => (error as { readonly _tag?: string })._tag === "NessieRefused",
        (refused) =>
          Effect.fail<RefNotFound | SqlError.SqlError>(
            isMissing(refused) || isRefusedName(refused) ? new RefNotFound({ ref }) : unexpected(refused),
          ),
      )

  /** `path`: of `refPath`. Nothing is asked of the state before the first commit. */
  const held = Effect.fnUntraced(function* (path: string, keys: ReadonlyArray<ReadonlyArray<string>>) {
    const found = yield* ask(Contents, "POST", `/trees/${path}/contents`, {
      requestedKeys: keys.map((elements) => ({ elements })),
    })
    const contents = new Map(found.contents.map(({ key, content }) => [textOf(key.elements), content]))
    return {
      hash: found.effectiveReference.hash,
      isBranch: found.effectiveReference.type === "BRANCH",
      at: (elements) => contents.get(textOf(elements)),
    } satisfies Held
  })

  const heldAt = (hash: string, keys: ReadonlyArray<ReadonlyArray<string>>) =>
    hash === noAncestor
      ? Effect.succeed<Held>({ hash, isBranch: false, at: () => undefined })
      : held(refPath(null, hash), keys)

  const table = Effect.fn("Catalog.table")(function* (name: RefName, key: TableKey) {
    const elements = elementsOf(key)
    const content = (yield* held(refPath(name), [elements]).pipe(orMissing(name))).at(elements)
    if (content?.type !== "ICEBERG_TABLE") return null
    return (yield* versions.pointers([{ key, content }]))[0]!
  })

  const tablesIn = Effect.fnUntraced(function* (path: string, filter: TableFilter = {}) {
    const conditions = ["entry.contentType == 'ICEBERG_TABLE'"]
    if (filter.namespace !== undefined && filter.layer !== undefined) {
      conditions.push(`entry.namespace == ${celText(`${filter.namespace}.${filter.layer}`)}`)
    } else if (filter.namespace !== undefined) {
      conditions.push(`entry.namespace.startsWith(${celText(`${filter.namespace}.`)})`)
    } else if (filter.layer !== undefined) conditions.push(`entry.namespace.endsWith(${celText(`.${filter.layer}`)})`)
    const query = `content=true&max-records=${pageSize}&filter=${encodeURIComponent(conditions.join(" && "))}`
    const placed: Array<Placed> = []
    let token = ""
    do {
      const page = yield* ask(EntryPage, "GET", `/trees/${path}/entries?${query}${token}`)
      for (const { name: key, content } of page.entries) {
        const tableKey = toTableKey(key.elements)
        if (tableKey !== null && content?.metadataLocation !== undefined) placed.push({ key: tableKey, content })
      }
      token = page.hasMore ? `&page-token=${encodeURIComponent(page.token ?? "")}` : ""
    } while (token !== "")
    const isAsked = ({ key }: Placed) =>
      (filter.namespace === undefined || key.namespace === filter.namespace) &&
      (filter.layer === undefined || key.layer === filter.layer)
    const inOrder = placed.filter(isAsked).toSorted((left, right) => {
      const [a, b] = [textOf(elementsOf(left.key)), textOf(elementsOf(right.key))]
      return a < b ? -1 : a > b ? 1 : 0
    })
    return yield* versions.pointers(inOrder)
  })

  const tables = Effect.fn("Catalog.tables")((name: RefName, filter?: TableFilter) =>
    tablesIn(refPath(name), filter).pipe(orMissing(name)),
  )

  /** Commits of `path`, newest first, with their operations; with `until` no further back than to that commit, without it. */
  const log = Effect.fnUntraced(function* (
    path: string,
    options: { readonly limit?: number; readonly filter?: string; readonly until?: string },
  ) {
    const found: Array<LogEntry> = []
    const limit = options.limit ?? Number.POSITIVE_INFINITY
    const isLimited = options.until !== undefined && options.until !== noAncestor
    const filter = options.filter === undefined ? "" : `&filter=${encodeURIComponent(options.filter)}`
    const query = `fetch=ALL&max-records=${Math.min(pageSize, limit + 1)}${filter}${isLimited ? `&limit-hash=${options.until}` : ""}`
    let token = ""
    do {
      const page = yield* ask(LogPage, "GET", `/trees/${path}/history?${query}${token}`)
      found.push(...page.logEntries.filter(({ commitMeta }) => commitMeta.hash !== options.until))
      token = page.hasMore && found.length < limit ? `&page-token=${encodeURIComponent(page.token ?? "")}` : ""
    } while (token !== "")
    return found.slice(0, limit)
  })

  /** A commit's id; null for the state before the first. */
  const idAt = Effect.fnUntraced(function* (hash: string) {
    if (hash === noAncestor) return null
    const [entry] = yield* log(refPath(null, hash), { limit: 1 })
    return entry === undefined ? null : idOf(entry.commitMeta)
  })

  const commitOf = (entry: LogEntry, ref: string) =>
    Effect.map(idAt(entry.parentCommitHash), (parent) => toCommit(entry, parent, ref))

  const history = Effect.fn("Catalog.history")(function* (
    name: RefName,
    options: { readonly limit: number; readonly before?: CommitId; readonly table?: TableKey },
  ) {
    const conditions: Array<string> = []
    const id = celText(property.id)
    if (options.before !== undefined) {
      conditions.push(`(!(${id} in commit.properties) || int(commit.properties[${id}]) < ${options.before})`)
    }
    if (options.table !== undefined) {
      conditions.push(touches(options.table))
    }
    const entries = yield* log(refPath(name), {
      limit: options.limit,
      ...(conditions.length === 0 ? {} : { filter: conditions.join(" && ") }),
    })
    const ids = new Map(entries.map(({ commitMeta }) => [commitMeta.hash, idOf(commitMeta)]))
    const commits = yield* Effect.forEach(
      entries,
      (entry): Effect.Effect<Commit, NessieRefused | SqlError.SqlError> => {
        const parent = ids.get(entry.parentCommitHash)
        return parent === undefined ? commitOf(entry, name) : Effect.succeed(toCommit(entry, parent, name))
      },
      { concurrency: 8 },
    )
    return commits.filter((commit) => options.before === undefined || commit.id < options.before)
  })

  return {
    held,
    heldAt,
    log,
    idAt,
    commitOf,
    orMissing,
    table,
    tables,
    tablesAt: (hash: string, filter?: TableFilter) => tablesIn(refPath(null, hash), filter),
    history: (...[name, options]: Parameters<typeof history>) => history(name, options).pipe(orMissing(name)),
  }
}

export type NessieReads = ReturnType<typeof makeNessieReads>
