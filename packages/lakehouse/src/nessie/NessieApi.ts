import { CommitId, Layer, NamespaceName, PipelineName, TableKey } from "@rat/domain"
import { DateTime, Effect, Option, Schema } from "effect"
import type { SqlError } from "effect/sql"
import type { Commit } from "../catalog/Catalog.ts"
import { type NessieCall, NessieRefused, unexpected } from "./NessieClient.ts"

/** What we read of the answers of Nessie's REST API v2; everything else in them is ignored. */

const ContentKey = Schema.Struct({ elements: Schema.Array(Schema.String) })

export const Content = Schema.Struct({
  type: Schema.String,
  id: Schema.optional(Schema.String),
  metadataLocation: Schema.optional(Schema.String),
  snapshotId: Schema.optional(Schema.Union([Schema.Number, Schema.BigInt])),
})
export type Content = typeof Content.Type

const CommitMeta = Schema.Struct({
  hash: Schema.String,
  message: Schema.String,
  authors: Schema.optional(Schema.Array(Schema.String)),
  commitTime: Schema.String,
  authorTime: Schema.optional(Schema.NullOr(Schema.String)),
  allProperties: Schema.optional(Schema.Record(Schema.String, Schema.Array(Schema.String))),
})
type CommitMeta = typeof CommitMeta.Type

export const Reference = Schema.Struct({
  type: Schema.String,
  name: Schema.String,
  hash: Schema.String,
  metadata: Schema.optional(
    Schema.NullOr(
      Schema.Struct({
        commitMetaOfHEAD: Schema.optional(Schema.NullOr(CommitMeta)),
        commonAncestorHash: Schema.optional(Schema.NullOr(Schema.String)),
      }),
    ),
  ),
})
export type Reference = typeof Reference.Type

export const LogEntry = Schema.Struct({
  commitMeta: CommitMeta,
  parentCommitHash: Schema.String,
  operations: Schema.optional(
    Schema.NullOr(
      Schema.Array(
        Schema.Struct({ type: Schema.String, key: ContentKey, content: Schema.optional(Schema.NullOr(Content)) }),
      ),
    ),
  ),
})
export type LogEntry = typeof LogEntry.Type

const page = { token: Schema.optional(Schema.NullOr(Schema.String)), hasMore: Schema.Boolean }
export const LogPage = Schema.Struct({ ...page, logEntries: Schema.Array(LogEntry) })
export const ReferencePage = Schema.Struct({ ...page, references: Schema.Array(Reference) })
export const EntryPage = Schema.Struct({
  ...page,
  entries: Schema.Array(Schema.Struct({ name: ContentKey, content: Schema.optional(Schema.NullOr(Content)) })),
})
export const Contents = Schema.Struct({
  contents: Schema.Array(Schema.Struct({ key: ContentKey, content: Content })),
  effectiveReference: Schema.Struct({ type: Schema.String, hash: Schema.String }),
})
export const Committed = Schema.Struct({ targetBranch: Schema.Struct({ hash: Schema.String }) })
export const OneReference = Schema.Struct({ reference: Reference })
export const NessieConfig = Schema.Struct({ noAncestorHash: Schema.String })

/** An answer that is not what the API says: some other version, or something between us and the server. */
const malformed = (error: Schema.SchemaError) =>
  unexpected(new NessieRefused({ status: 200, code: "MALFORMED", message: error.message }))

export const asking =
  (call: NessieCall) =>
  <S extends Schema.Codec<unknown, unknown>>(
    schema: S,
    ...request: Parameters<NessieCall>
  ): Effect.Effect<S["Type"], NessieRefused | SqlError.SqlError> =>
    Effect.flatMap(call(...request), (answer) =>
      Schema.decodeUnknownEffect(schema)(answer).pipe(Effect.mapError(malformed)),
    ) as Effect.Effect<S["Type"], NessieRefused | SqlError.SqlError>
export type Ask = ReturnType<typeof asking>

/** Properties of our commits. */
export const property = {
  id: "rat.id",
  ref: "rat.ref",
  runId: "rat.run-id",
  /** On main: the branch that was merged, and its head then. */
  branch: "rat.branch",
  branchHead: "rat.branch-head",
  /** On a branch, followed by the table: main's version that the table was put upon. */
  onto: "rat.onto.",
} as const

export const propertyOf = (meta: CommitMeta, name: string): string | null => meta.allProperties?.[name]?.[0] ?? null

/** A literal in Nessie's filter language (CEL). */
export const celText = (text: string) =>
  `'${text
    .replace(/[\\']/g, (character) => `\\${character}`)
    .replace(/\n/g, "\\n")
    .replace(/\r/g, "\\r")}'`
export const hasProperty = (name: string, value: string) =>
  `${celText(name)} in commit.properties && commit.properties[${celText(name)}] == ${celText(value)}`

/** Path segment of a ref, at a commit where told; `null` for a commit alone. */
export const refPath = (name: string | null, hash?: string) =>
  encodeURIComponent(`${name ?? ""}${hash === undefined ? "" : `@${hash}`}`)

const idBits = 20n

/** Ids rise with time; the low bits tell commits of one millisecond apart. */
export const commitIdAt = (timeMs: number, low: number) =>
  CommitId.make((BigInt(timeMs) << idBits) | BigInt(low & 0xfffff))

/** Commits of others have no id of ours: theirs follows from their time and hash. */
export const idOf = (meta: CommitMeta): CommitId => {
  const own = propertyOf(meta, property.id)
  if (own !== null && /^\d{1,19}$/.test(own)) return CommitId.make(BigInt(own))
  return commitIdAt(Date.parse(meta.commitTime), Number.parseInt(meta.hash.slice(0, 5), 16))
}

const isKeyName = Schema.is(NamespaceName)
const isPipelineName = Schema.is(PipelineName)
const isLayer = Schema.is(Layer)

/** Tables of other shapes of name are there for other programs; we don't see them. */
export const toTableKey = ([namespace, layer, name, ...more]: ReadonlyArray<string>): TableKey | null =>
  more.length === 0 && isKeyName(namespace) && isLayer(layer) && isPipelineName(name)
    ? new TableKey({ namespace, layer, name })
    : null

/** Tables that a commit touched, sorted. */
export const tablesOf = (entry: LogEntry): ReadonlyArray<TableKey> =>
  (entry.operations ?? [])
    .filter((operation) => operation.type === "DELETE" || operation.content?.type === "ICEBERG_TABLE")
    .flatMap((operation) => toTableKey(operation.key.elements) ?? [])
    .toSorted((left, right) => (left.toString() < right.toString() ? -1 : 1))

export const toCommit = (entry: LogEntry, parent: CommitId | null, ref: string): Commit => ({
  id: idOf(entry.commitMeta),
  ref: propertyOf(entry.commitMeta, property.ref) ?? ref,
  parent,
  message: entry.commitMeta.message,
  author: entry.commitMeta.authors?.[0] ?? "unknown",
  runId: propertyOf(entry.commitMeta, property.runId),
  committedAt: Option.getOrThrow(DateTime.make(entry.commitMeta.authorTime ?? entry.commitMeta.commitTime)),
  tables: tablesOf(entry).map(String),
})

export const isMissing = (refused: NessieRefused) => refused.status === 404 || refused.code === "REFERENCE_NOT_FOUND"

/** The server's own rule for names is narrower than ours: what it does not take cannot be there. */
export const isRefusedName = (refused: NessieRefused) =>
  refused.status === 400 && /Reference name|ref(erence)?Name|params\.ref/i.test(refused.message)

/** Commits that touch a table. */
export const touches = (key: TableKey) => `operations.exists(op, op.key == ${celText(key.toString())})`
