import type { CommitId, CommitNotFound, RefExists, RefName, RefNotFound, TableKey } from "@rat/domain"
import { Context, type DateTime, type Effect, type Result, Schema } from "effect"
import type { SqlError } from "effect/sql"

/** Where a table stands on a ref: the metadata file is the table. */
export interface TablePointer {
  readonly key: TableKey
  readonly metadataLocation: string
  readonly snapshotId: string | null
  readonly rowCount: number
  readonly sizeBytes: number
  readonly updatedAt: DateTime.Utc
}

/** `next: null` drops the table from the ref. `expected` is the pointer the change was made from; null: none yet. */
export interface TableChange {
  readonly key: TableKey
  readonly expected: string | null
  readonly next: {
    readonly metadataLocation: string
    readonly snapshotId: string | null
    readonly rowCount: number
    readonly sizeBytes: number
  } | null
}

export interface Commit {
  readonly id: CommitId
  readonly ref: string
  readonly parent: CommitId | null
  readonly message: string
  readonly author: string
  readonly runId: string | null
  readonly committedAt: DateTime.Utc
  readonly tables: ReadonlyArray<string>
}

/** The end of a branch: all of its changes go to main, in one commit. */
export interface Merge {
  readonly branch: RefName
  readonly message: string
  readonly author: string
  readonly runId: string | null
}

export interface RefState {
  readonly name: RefName
  readonly kind: "branch" | "tag"
  /** The newest commit that is visible on the ref; null when nothing was ever committed. */
  readonly head: CommitId | null
  /** For branches other than main: main's commit at creation. */
  readonly base: CommitId | null
  readonly runId: string | null
  readonly createdAt: DateTime.Utc
  readonly expiresAt: DateTime.Utc | null
}

/** What a branch did to a table. */
export interface BranchChange {
  readonly key: TableKey
  readonly kind: "created" | "changed" | "dropped"
  readonly isBehind: boolean
}

export interface DroppedTable {
  /** Its last version. */
  readonly pointer: TablePointer
  readonly droppedAt: DateTime.Utc
}

/** Somebody else changed these tables since the change (or the branch) was made. Nothing was changed. */
export class CatalogConflict extends Schema.TaggedError<CatalogConflict>()("CatalogConflict", {
  ref: Schema.String,
  tables: Schema.Array(Schema.String),
}) {
  override get message() {
    return `${this.tables.join(", ")} changed on ${this.ref} in the meantime.`
  }
}

/** A newer attempt of the run has taken the branch. Nothing was changed: stop, as with a lost lease. */
export class BranchHeld extends Schema.TaggedError<BranchHeld>()("BranchHeld", { ref: Schema.String }) {
  override get message() {
    return `Branch "${this.ref}" is held by a newer attempt of its run.`
  }
}

/** What a commit changes, all of it or nothing. */
export interface CatalogChange {
  readonly message: string
  readonly author: string
  readonly runId: string | null
  readonly changes: ReadonlyArray<TableChange>
}

type Sql = SqlError.SqlError

/**
 * The branching catalog. `main` always exists. A branch is one row (base commit + overrides), so creating one costs
 * the same with ten tables and with a hundred thousand; it sees main as of its base plus its own changes.
 * With `joinsTransactions` every method joins a surrounding transaction of the same SqlClient.
 */
export class Catalog extends Context.Service<
  Catalog,
  {
    /** False where changes are there at once, whatever becomes of the caller's transaction (a catalog outside of Postgres). */
    readonly joinsTransactions: boolean
    /** Idempotent for the same `runId`: a repeated call answers with the branch that is there. */
    readonly createBranch: (
      name: RefName,
      options: { readonly from: RefName; readonly runId?: string; readonly expiresAt?: DateTime.Utc },
    ) => Effect.Effect<RefState, RefNotFound | RefExists | Sql>
    /**
     * Gives a run's branch to one of its attempts: makes it, or finds it with all that earlier attempts did there. From then on
     * attempts with a smaller `fence` (a fencing token, above 0) change it no more: they get `BranchHeld`. With `isFresh` its own
     * changes are dropped, and it begins at what `from` is now. `RefExists`: the name is not this run's.
     */
    readonly holdBranch: (
      name: RefName,
      options: { readonly from: RefName; readonly runId: string; readonly fence: bigint; readonly isFresh?: boolean },
    ) => Effect.Effect<RefState, RefNotFound | RefExists | BranchHeld | Sql>
    readonly createTag: (
      name: RefName,
      options: { readonly from: RefName },
    ) => Effect.Effect<RefState, RefNotFound | RefExists | Sql>
    /** Missing refs are no error; main is a defect. */
    readonly deleteRef: (name: RefName) => Effect.Effect<void, Sql>
    /** A branch that nobody needs any more is collected at this time. */
    readonly expireBranch: (name: RefName, at: DateTime.Utc) => Effect.Effect<void, Sql>
    readonly ref: (name: RefName) => Effect.Effect<RefState, RefNotFound | Sql>
    readonly refs: (options: {
      readonly limit: number
      readonly after?: RefName
    }) => Effect.Effect<ReadonlyArray<RefState>, Sql>
    readonly table: (ref: RefName, key: TableKey) => Effect.Effect<TablePointer | null, RefNotFound | Sql>
    readonly tables: (
      ref: RefName,
      filter?: { readonly namespace?: string; readonly layer?: string },
    ) => Effect.Effect<ReadonlyArray<TablePointer>, RefNotFound | Sql>
    /** All changes or none. Repeating a run's commit with the same result is no error and changes nothing. */
    readonly commit: (ref: RefName, commit: CatalogChange) => Effect.Effect<Commit, RefNotFound | CatalogConflict | Sql>
    /** The same for the attempt that holds the branch. */
    readonly commitHeld: (
      ref: RefName,
      commit: CatalogChange & { readonly fence: bigint },
    ) => Effect.Effect<Commit, RefNotFound | CatalogConflict | BranchHeld | Sql>
    /**
     * Replaces the branch's version of a table, if that is still `expected`, by `next`, which was put upon `onto`: main's version
     * at that time. Merging the branch then asks whether main still has `onto`. Answers whether it was done; with `fence` it is not
     * when a newer attempt holds the branch.
     */
    readonly rebase: (
      branch: RefName,
      change: {
        readonly key: TableKey
        readonly expected: string
        readonly onto: string
        readonly next: NonNullable<TableChange["next"]>
        readonly fence?: bigint
      },
    ) => Effect.Effect<boolean, Sql>
    /**
     * Moves main by all of the branch's changes at once and ends the branch. A table that main changed since the
     * branch's base is a conflict. Answers null when the branch changed nothing.
     */
    readonly merge: (
      branch: RefName,
      options: Omit<Merge, "branch">,
    ) => Effect.Effect<Commit | null, RefNotFound | CatalogConflict | Sql>
    /**
     * Many merges in one round trip and transaction, in the given order; each is done or refused by itself. For
     * publishers that batch.
     */
    readonly mergeMany: (
      merges: ReadonlyArray<Merge>,
    ) => Effect.Effect<ReadonlyArray<Result.Result<Commit | null, RefNotFound | CatalogConflict>>, Sql>
    /** Newest first. */
    readonly history: (
      ref: RefName,
      options: { readonly limit: number; readonly before?: CommitId; readonly table?: TableKey },
    ) => Effect.Effect<ReadonlyArray<Commit>, RefNotFound | Sql>
    /** The tables that a branch changed, and whether main has moved them since (then a merge is refused as it stands). */
    readonly changes: (branch: RefName) => Effect.Effect<ReadonlyArray<BranchChange>, RefNotFound | Sql>
    /** Main as it was after a commit: every table that it had then. `CommitNotFound` where retention forgot some of them. */
    readonly at: (
      commit: CommitId,
      filter?: { readonly namespace?: string },
    ) => Effect.Effect<ReadonlyArray<TablePointer>, CommitNotFound | Sql>
    /**
     * Tables that `ref` (default main) had and that can be brought back, with their last version; last dropped first. Main's until
     * retention takes them, a branch's as long as it lives.
     */
    readonly dropped: (filter?: {
      readonly namespace?: string
      readonly ref?: RefName
    }) => Effect.Effect<ReadonlyArray<DroppedTable>, Sql>
    /**
     * Forgets versions of main that were replaced, and tables that were dropped, before a time and that no branch or tag sees, among
     * the next `limit` versions; calls go through all of them in turn. Answers with how many.
     */
    readonly prune: (before: DateTime.Utc, limit: number) => Effect.Effect<number, Sql>
    /** Deletes branches whose time has come, at most `limit`; answers with their names. */
    readonly collectExpired: (limit: number) => Effect.Effect<ReadonlyArray<string>, Sql>
  }
>()("rat/lakehouse/catalog/Catalog") {}
