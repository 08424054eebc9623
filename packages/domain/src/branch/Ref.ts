import { Schema } from "effect"

/** Branch or tag name: the name rule plus '.', upper case and '/', as git users expect. */
export const RefName = Schema.String.check(
  Schema.isPattern(/^[A-Za-z][A-Za-z0-9_./-]{0,199}$/, {
    message: "must start with a letter and hold at most 200 letters, digits, '_', '-', '.' and '/'",
  }),
).pipe(Schema.brand("RefName"))
export type RefName = typeof RefName.Type

/** Production: what queries read unless they say otherwise. */
export const mainRef = RefName.make("main")

/** Number of a commit; rises over all refs. Null before the first one. */
export const CommitId = Schema.BigIntFromString.pipe(Schema.brand("CommitId"))
export type CommitId = typeof CommitId.Type

export class RefNotFound extends Schema.TaggedError<RefNotFound>()(
  "RefNotFound",
  { ref: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `Branch or tag "${this.ref}" does not exist. A successful run's branch ends with it; a failed one's expires.`
  }
}

export class RefExists extends Schema.TaggedError<RefExists>()(
  "RefExists",
  { ref: Schema.String },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Branch or tag "${this.ref}" already exists.`
  }
}

/** A branch or tag as clients see it. Commits are numbers that rise over all refs. */
export class Ref extends Schema.Class<Ref>("rat/domain/Ref")({
  name: RefName,
  kind: Schema.Literals(["branch", "tag"]),
  /** The newest commit that is visible on it. */
  head: Schema.NullOr(CommitId),
  /** Main's commit when it was made; null for main. */
  base: Schema.NullOr(CommitId),
  /** The run whose branch it is. */
  run_id: Schema.NullOr(Schema.String),
  created_at: Schema.DateTimeUtcFromDate,
  expires_at: Schema.NullOr(Schema.DateTimeUtcFromDate),
}) {}

/** A change of the catalog: which tables moved, on which ref, by whom. */
export class CatalogCommit extends Schema.Class<CatalogCommit>("rat/domain/CatalogCommit")({
  id: CommitId,
  ref: Schema.String,
  parent: Schema.NullOr(CommitId),
  message: Schema.String,
  author: Schema.String,
  run_id: Schema.NullOr(Schema.String),
  committed_at: Schema.DateTimeUtcFromDate,
  /** `namespace.layer.name` */
  tables: Schema.Array(Schema.String),
}) {}

/** A table that a branch changed. */
export class RefChange extends Schema.Class<RefChange>("rat/domain/RefChange")({
  table: Schema.String,
  kind: Schema.Literals(["created", "changed", "dropped"]),
  /** Main has moved the table since the branch was made. Added rows on both sides are merged; anything else is a conflict. */
  is_behind: Schema.Boolean,
}) {}

/** Why a branch cannot be merged, for each table that stands against it. */
export const MergeObstacle = Schema.Struct({ table: Schema.String, reason: Schema.String })

export class BranchConflict extends Schema.TaggedError<BranchConflict>()(
  "BranchConflict",
  { branch: Schema.String, conflicts: Schema.Array(MergeObstacle) },
  { httpApiStatus: 409 },
) {
  override get message() {
    const [first] = this.conflicts
    const more = this.conflicts.length > 1 ? ` (and ${this.conflicts.length - 1} more)` : ""
    return `Branch "${this.branch}" cannot be merged: ${first?.table}: ${first?.reason}${more}. Nothing was changed. Make a new branch of main and do the changes there, or drop those tables from the branch.`
  }
}

/** A ref that people may not change this way: main, a tag, the branch of a run. */
export class RefRefused extends Schema.TaggedError<RefRefused>()(
  "RefRefused",
  { ref: Schema.String, reason: Schema.String },
  { httpApiStatus: 400 },
) {
  override get message() {
    return this.reason
  }
}

/** There is no such commit of main, or what it was is not kept any more. */
export class CommitNotFound extends Schema.TaggedError<CommitNotFound>()(
  "CommitNotFound",
  { commit: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `Commit ${this.commit} does not exist on main, or its versions are not kept any more. \`rat branch log main\` lists commits.`
  }
}
