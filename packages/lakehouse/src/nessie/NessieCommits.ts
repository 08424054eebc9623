import { mainRef, type RefName, RefNotFound, type TableKey } from "@rat/domain"
import { DateTime, Effect, Random } from "effect"
import type { SqlError } from "effect/sql"
import { type BranchChange, CatalogConflict, type Commit, type Merge, type TableChange } from "../catalog/Catalog.ts"
import {
  type Ask,
  Committed,
  type Content,
  celText,
  commitIdAt,
  hasProperty,
  idOf,
  isMissing,
  isRefusedName,
  type LogEntry,
  property,
  propertyOf,
  refPath,
  tablesOf,
  toCommit,
  touches,
} from "./NessieApi.ts"
import { type NessieRefused, unexpected } from "./NessieClient.ts"
import type { NessieFence } from "./NessieFence.ts"
import { elementsOf, type Held, type NessieReads } from "./NessieReads.ts"
import type { NessieRefs } from "./NessieRefs.ts"
import type { NessieVersions } from "./NessieVersions.ts"

/** How often a change is made anew when others moved its tables between our look and our request. */
const maxTries = 30

const pause = (attempt: number) =>
  Effect.flatMap(Random.next, (share) => Effect.sleep(share * Math.min(200, 5 * 2 ** attempt)))

const noState: Held = { hash: "", isBranch: false, at: () => undefined }

type Next = TableChange["next"]
interface Operation {
  readonly key: TableKey
  readonly next: Next
}

interface Change {
  readonly message: string
  readonly author: string
  readonly runId: string | null
  readonly changes: ReadonlyArray<TableChange>
}

/** The end of a branch; null: main moved between look and commit. */
type Merged = { readonly commit: Commit | null } | null

/** A branch's own changes of tables: since its base, newest value first. */
interface OwnChanges {
  readonly keys: ReadonlyArray<TableKey>
  /** Main's version that a table was put upon later than its base. */
  readonly onto: ReadonlyMap<string, string>
}

/**
 * Changes of tables in a Nessie server. Nessie refuses a commit when a key of it changed since the commit that we looked at, so
 * look, compare, commit is a compare-and-set of exactly these tables; others may move meanwhile. A merge is such a commit on main
 * too: its conflicts are those of the contract, it carries the run, and it can be recognised when its answer was lost.
 */
export const makeNessieCommits = (
  ask: Ask,
  reads: NessieReads,
  refs: NessieRefs,
  versions: NessieVersions,
  fences: NessieFence,
) => {
  const { orMissing, held, heldAt, log } = reads
  const locationAt = (state: Held, key: TableKey) => state.at(elementsOf(key))?.metadataLocation ?? null

  /** Keys of tables and of the namespaces around them, each once. */
  const keysFor = (keys: ReadonlyArray<TableKey>): ReadonlyArray<ReadonlyArray<string>> => [
    ...new Map(
      keys
        .flatMap(
          (key): ReadonlyArray<ReadonlyArray<string>> => [[key.namespace], [key.namespace, key.layer], elementsOf(key)],
        )
        .map((elements) => [elements.join("."), elements] as const),
    ).values(),
  ]

  const contentOf = (next: NonNullable<Next>, existing: Content | undefined) => ({
    type: "ICEBERG_TABLE",
    ...(existing?.id === undefined ? {} : { id: existing.id }),
    metadataLocation: next.metadataLocation,
    snapshotId: /^-?\d{1,19}$/.test(next.snapshotId ?? "") ? BigInt(next.snapshotId!) : -1,
    // The metadata file has them; Nessie keeps them for its own clients.
    schemaId: 0,
    specId: 0,
    sortOrderId: 0,
  })

  /** The request of a commit upon what was seen; answers with the new head, or null when a key moved meanwhile. */
  const send = Effect.fnUntraced(function* (
    ref: RefName,
    seen: Held,
    operations: ReadonlyArray<Operation>,
    meta: { readonly message: string; readonly author: string; readonly properties: Record<string, string> },
  ) {
    const now = yield* DateTime.now
    const low = yield* Random.nextIntBetween(0, 2 ** 20)
    yield* versions.remember(
      operations.flatMap(({ next }) => next ?? []),
      now,
    )
    const puts = operations.filter(({ next }) => next !== null)
    const missing = keysFor(puts.map(({ key }) => key)).filter(
      (elements) => elements.length < 3 && seen.at(elements) === undefined,
    )
    return yield* ask(Committed, "POST", `/trees/${refPath(ref, seen.hash)}/history/commit`, {
      commitMeta: {
        message: meta.message,
        authors: [meta.author],
        authorTime: DateTime.formatIso(now),
        properties: {
          ...meta.properties,
          [property.ref]: ref,
          [property.id]: commitIdAt(DateTime.toEpochMillis(now), low).toString(),
        },
      },
      operations: [
        ...missing.map((elements) => ({ type: "PUT", key: { elements }, content: { type: "NAMESPACE", elements } })),
        ...operations.map(({ key, next }) =>
          next === null
            ? { type: "DELETE", key: { elements: elementsOf(key) } }
            : {
                type: "PUT",
                key: { elements: elementsOf(key) },
                content: contentOf(next, seen.at(elementsOf(key))),
              },
        ),
      ],
    }).pipe(
      Effect.map(({ targetBranch }) => targetBranch.hash),
      Effect.catchTag("NessieRefused", (refused) =>
        // A namespace that somebody made in the same instant is refused as a bad request.
        refused.code === "REFERENCE_CONFLICT" || /no content ID|content ID/i.test(refused.message)
          ? Effect.succeed(null)
          : Effect.fail(refused),
      ),
    )
  })

  const commitAt = Effect.fnUntraced(function* (hash: string, ref: string) {
    const [entry, parent] = yield* log(refPath(null, hash), { limit: 2 })
    return toCommit(entry!, parent === undefined ? null : idOf(parent.commitMeta), ref)
  })

  /** The newest commit on a path with these properties. */
  const findCommit = Effect.fnUntraced(function* (
    path: string,
    wanted: Readonly<Record<string, string>>,
    until?: string,
  ) {
    const filter = Object.entries(wanted)
      .map(([name, value]) => hasProperty(name, value))
      .join(" && ")
    const [entry] = yield* log(path, { limit: 1, filter, ...(until === undefined ? {} : { until }) })
    return entry
  })

  /** What the run committed before, when the ref shows just that. */
  const repeated = Effect.fnUntraced(function* (
    ref: RefName,
    seen: Held,
    runId: string | null,
    changes: ReadonlyArray<TableChange>,
  ) {
    if (runId === null) return null
    if (changes.some(({ key, next }) => locationAt(seen, key) !== (next?.metadataLocation ?? null))) return null
    const entry = yield* findCommit(refPath(ref), { [property.runId]: runId, [property.ref]: ref })
    const isSame =
      entry !== undefined &&
      tablesOf(entry).join() ===
        changes
          .map(({ key }) => String(key))
          .sort()
          .join()
    return isSame ? yield* reads.commitOf(entry, ref) : null
  })

  const commitOnce = Effect.fnUntraced(function* <E = never>(
    ref: RefName,
    change: Change,
    attempt: number,
    /** Asked between our look and our request. */
    mayCommit: Effect.Effect<void, E>,
  ) {
    const seen = yield* held(refPath(ref), keysFor(change.changes.map(({ key }) => key)))
    if (!seen.isBranch) return yield* new RefNotFound({ ref })
    const before = yield* repeated(ref, seen, change.runId, change.changes)
    if (before !== null) return before
    const moved = change.changes.filter(({ key, expected }) => locationAt(seen, key) !== expected)
    if (moved.length > 0) {
      // Locations are written once: the one that is there was put by our own request, whose answer was lost.
      const isOurs =
        attempt > 0 &&
        change.changes.some(({ next }) => next !== null) &&
        change.changes.every(({ key, next }) => locationAt(seen, key) === (next?.metadataLocation ?? null))
      if (!isOurs) return yield* new CatalogConflict({ ref, tables: moved.map(({ key }) => String(key)).sort() })
      const key = change.changes[0]!.key
      const [entry] = yield* log(refPath(null, seen.hash), { limit: 1, filter: touches(key) })
      return yield* reads.commitOf(entry!, ref)
    }
    yield* mayCommit
    const hash = yield* send(ref, seen, change.changes, {
      message: change.message,
      author: change.author,
      properties: change.runId === null ? {} : { [property.runId]: change.runId },
    })
    return hash === null ? null : yield* commitAt(hash, ref)
  })

  /** Does `once` until it says something else than that others came first. */
  const persistently = Effect.fnUntraced(function* <A, E>(
    ref: RefName,
    tables: ReadonlyArray<string>,
    once: (attempt: number) => Effect.Effect<A | null, E>,
  ) {
    for (let attempt = 0; attempt < maxTries; attempt++) {
      const done = yield* once(attempt)
      if (done !== null) return done
      yield* pause(attempt)
    }
    return yield* new CatalogConflict({ ref, tables })
  })

  const commitIf = <E = never>(ref: RefName, change: Change, mayCommit: Effect.Effect<void, E>) => {
    const tables = change.changes.map(({ key }) => String(key)).sort()
    return persistently(ref, tables, (attempt) => commitOnce(ref, change, attempt, mayCommit)).pipe(orMissing(ref))
  }
  const commit = Effect.fn("Catalog.commit")((ref: RefName, change: Change) => commitIf(ref, change, Effect.void))
  const commitHeld = Effect.fn("Catalog.commitHeld")((ref: RefName, change: Change & { readonly fence: bigint }) =>
    commitIf(ref, change, fences.check(ref, change.fence)),
  )

  /** From the branch's own commits: Nessie's diff would not show a table that was changed and changed back. */
  const ownChanges = (entries: ReadonlyArray<LogEntry>): OwnChanges => {
    const keys = new Map<string, TableKey>()
    const onto = new Map<string, string>()
    for (const entry of entries) {
      for (const key of tablesOf(entry)) {
        const text = key.toString()
        keys.set(text, key)
        const location = propertyOf(entry.commitMeta, `${property.onto}${text}`)
        if (location !== null && !onto.has(text)) onto.set(text, location)
      }
    }
    return { keys: [...keys.values()].sort((left, right) => (String(left) < String(right) ? -1 : 1)), onto }
  }

  /** A branch's changes beside main and its base. */
  const compared = Effect.fnUntraced(function* (branch: RefName) {
    const reference = yield* refs.find(branch)
    if (reference.type !== "BRANCH" || branch === "main") return yield* new RefNotFound({ ref: branch })
    const base = refs.baseOf(reference, yield* refs.rowOf(branch))
    const own = ownChanges(yield* log(refPath(null, reference.hash), { until: base }))
    const elements = own.keys.map(elementsOf)
    const [ours, theirs, before] = yield* own.keys.length === 0
      ? Effect.succeed([noState, noState, noState] as const)
      : Effect.all([heldAt(reference.hash, elements), held(refPath("main"), keysFor(own.keys)), heldAt(base, elements)])
    const changed = own.keys.filter((key) => locationAt(ours, key) !== locationAt(theirs, key))
    const behind = changed.filter(
      (key) => (own.onto.get(key.toString()) ?? locationAt(before, key)) !== locationAt(theirs, key),
    )
    return { head: reference.hash, base, own, ours, theirs, changed, behind }
  })

  const changes = Effect.fn("Catalog.changes")(function* (branch: RefName) {
    const { changed, behind, ours, theirs } = yield* compared(branch)
    return changed.map(
      (key): BranchChange => ({
        key,
        kind: locationAt(ours, key) === null ? "dropped" : locationAt(theirs, key) === null ? "created" : "changed",
        isBehind: behind.includes(key),
      }),
    )
  })

  const mergeOnce = Effect.fnUntraced(function* (branch: RefName, options: Omit<Merge, "branch">) {
    const { head, base, own, ours, theirs, changed, behind } = yield* compared(branch)
    if (own.keys.length === 0) {
      yield* refs.end(branch, head)
      return { commit: null } satisfies Merged
    }
    if (changed.length === 0 || behind.length > 0) {
      // The end of an earlier attempt of ours, whose answer or whose deletion of the branch was lost, looks like this too.
      const done = yield* findCommit(refPath("main"), { [property.branch]: branch, [property.branchHead]: head }, base)
      if (done === undefined && behind.length > 0) {
        return yield* new CatalogConflict({ ref: "main", tables: behind.map(String) })
      }
      yield* refs.end(branch, head)
      return { commit: done === undefined ? null : yield* reads.commitOf(done, "main") } satisfies Merged
    }
    const pointers = yield* versions.pointers(
      changed.flatMap((key) => {
        const content = ours.at(elementsOf(key))
        return content === undefined ? [] : [{ key, content }]
      }),
    )
    const nextOf = new Map(pointers.map((pointer) => [pointer.key.toString(), pointer]))
    const hash = yield* send(
      mainRef,
      theirs,
      changed.map((key) => ({ key, next: nextOf.get(key.toString()) ?? null })),
      {
        message: options.message,
        author: options.author,
        properties: {
          [property.branch]: branch,
          [property.branchHead]: head,
          ...(options.runId === null ? {} : { [property.runId]: options.runId }),
        },
      },
    )
    if (hash === null) return null
    yield* refs.end(branch, head)
    return { commit: yield* commitAt(hash, "main") } satisfies Merged
  })

  /** A branch that is gone may have been merged by this very run, or by the same request before. */
  const mergedBefore = Effect.fnUntraced(function* (branch: RefName, runId: string | null) {
    const isOurs =
      runId === null ? `!(${celText(property.runId)} in commit.properties)` : hasProperty(property.runId, runId)
    const filter = `${isOurs} && ${hasProperty(property.branch, branch)}`
    const [entry] = yield* log(refPath("main"), { limit: 1, filter })
    if (entry === undefined) return yield* new RefNotFound({ ref: branch })
    return { commit: yield* reads.commitOf(entry, "main") } satisfies Merged
  })

  const merge = Effect.fn("Catalog.merge")(function* (branch: RefName, options: Omit<Merge, "branch">) {
    yield* refs.refuseMain(branch, "merged into itself")
    const once = (): Effect.Effect<Merged, RefNotFound | CatalogConflict | NessieRefused | SqlError.SqlError> =>
      mergeOnce(branch, options).pipe(
        Effect.catchTag("NessieRefused", (refused) =>
          Effect.fail(isMissing(refused) || isRefusedName(refused) ? new RefNotFound({ ref: branch }) : refused),
        ),
        Effect.catchTag("RefNotFound", () => mergedBefore(branch, options.runId)),
      )
    const merged = yield* persistently(branch, [], once).pipe(orMissing(branch))
    return merged.commit
  })

  const rebase = Effect.fn("Catalog.rebase")(
    function* (
      branch: RefName,
      change: {
        readonly key: TableKey
        readonly expected: string
        readonly onto: string
        readonly next: NonNullable<Next>
        readonly fence?: bigint
      },
    ) {
      const { key, expected, fence, onto, next } = change
      const seen = yield* held(refPath(branch), keysFor([key]))
      if (!seen.isBranch || locationAt(seen, key) !== expected) return false
      if (fence !== undefined) yield* fences.check(branch, fence)
      const hash = yield* send(branch, seen, [{ key, next }], {
        message: `put ${key} upon main's version`,
        author: "rat",
        properties: { [`${property.onto}${key}`]: onto },
      })
      return hash !== null
    },
    Effect.catchTag("NessieRefused", (refused) =>
      isMissing(refused) ? Effect.succeed(false) : Effect.fail(unexpected(refused)),
    ),
    Effect.catchTag("BranchHeld", () => Effect.succeed(false)),
  )

  /**
   * Commits the branch's own tables as they are once more, so that requests which looked at it earlier are refused. Answers null
   * when one of those came first: look again.
   */
  const sealOnce = Effect.fnUntraced(function* (branch: RefName) {
    const { own } = yield* compared(branch)
    if (own.keys.length === 0) return true
    const seen = yield* held(refPath(branch), keysFor(own.keys))
    const pointers = yield* versions.pointers(
      own.keys.flatMap((key) => {
        const content = seen.at(elementsOf(key))
        return content === undefined ? [] : [{ key, content }]
      }),
    )
    if (pointers.length === 0) return true
    const hash = yield* send(
      branch,
      seen,
      pointers.map((pointer) => ({ key: pointer.key, next: pointer })),
      { message: "a newer attempt goes on", author: "rat", properties: {} },
    )
    return hash === null ? null : true
  })

  /** False: the branch went on moving. */
  const seal = (branch: RefName) =>
    persistently(branch, [], () => sealOnce(branch)).pipe(
      orMissing(branch),
      Effect.catchTag("CatalogConflict", () => Effect.succeed(false)),
    )

  return {
    commit,
    commitHeld,
    seal,
    merge,
    rebase,
    changes: (branch: RefName) => changes(branch).pipe(orMissing(branch)),
  }
}

export type NessieCommits = ReturnType<typeof makeNessieCommits>
