import { deflateRawSync, inflateRawSync } from "node:zlib"
import {
  applyDeletes,
  type DataFile,
  type DeleteFile,
  fieldsById,
  Int64,
  parseLosslessJson,
  printLosslessJson,
  ScanPlanner,
  type TableMetadata,
  type Schema as TableSchema,
} from "@rat/lakehouse"
import { Effect, Schema } from "effect"
import { fileJson } from "./ContentFileJson.ts"
import { scanPredicate } from "./Expression.ts"
import { bodyAs, jsonAnswer, noContent, type RestCall } from "./RestCall.ts"
import { type RestFailureType, refuse } from "./RestFailure.ts"
import type { TablePointers } from "./TablePointers.ts"

const Nullable = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))

const Request = Schema.Struct({
  "snapshot-id": Nullable(Int64),
  select: Nullable(Schema.Array(Schema.String)),
  filter: Schema.optionalKey(Schema.Unknown),
  "case-sensitive": Nullable(Schema.Boolean),
  "use-snapshot-schema": Nullable(Schema.Boolean),
  "start-snapshot-id": Nullable(Int64),
  "end-snapshot-id": Nullable(Int64),
  "stats-fields": Nullable(Schema.Array(Schema.String)),
  "min-rows-requested": Nullable(Int64),
})
type Request = typeof Request.Type
const requestBody = bodyAs(Request, "request for a scan")
const tasksBody = bodyAs(Schema.Struct({ "plan-task": Schema.String }), "request for tasks")

/** Files of one answer; the others are fetched with plan tasks. */
const filesInAnswer = 2000

/** Longer plan ids do not fit into an address. */
const maxPlanId = 4000
const maxTaskBytes = 2 ** 20

/** What a plan id and a plan task stand for: the request itself, so that any node can answer and none keeps anything. */
interface Planned {
  readonly metadataLocation: string
  readonly request: Request
  readonly from: number
}

const encodePlanned = (planned: Planned): string => deflateRawSync(printLosslessJson(planned)).toString("base64url")

const decodePlanned = (text: string, type: RestFailureType) =>
  Effect.try({
    try: () => {
      const bytes = inflateRawSync(Buffer.from(text, "base64url"), { maxOutputLength: maxTaskBytes })
      const { from, metadataLocation, request } = parseLosslessJson(bytes.toString("utf8")) as Planned
      if (typeof metadataLocation !== "string" || !Number.isSafeInteger(from)) throw new Error("is something else")
      return { from, metadataLocation, request: Schema.decodeUnknownSync(Request)(request) }
    },
    catch: () => refuse(type, "There is no such plan. Plan the scan again."),
  })

/** Ids of named columns, and of what is nested in them. */
const columnIds = (schema: TableSchema, names: ReadonlyArray<string>) => {
  const ids = new Set<number>()
  for (const field of schema.fields) {
    if (!names.some((name) => name === field.name || name.startsWith(`${field.name}.`))) continue
    ids.add(field.id)
    for (const id of fieldsById({ ...schema, fields: [field] }).keys()) ids.add(id)
  }
  return ids
}

/** Plans scans for clients that leave that to the server. A plan is complete when it is answered. */
export const makeScanPlanning = Effect.fnUntraced(function* (tables: TablePointers) {
  const planner = yield* ScanPlanner

  const snapshotOf = Effect.fnUntraced(function* (metadata: TableMetadata, id: bigint) {
    const snapshot = metadata.snapshots.find(({ snapshotId }) => snapshotId === id)
    if (snapshot !== undefined) return snapshot
    return yield* refuse("BadRequestException", `The table has no snapshot ${id}: it was never there, or has expired.`)
  })

  /** Snapshots behind `start` up to `end`, which has to come from it. */
  const between = Effect.fnUntraced(function* (metadata: TableMetadata, start: bigint | null, end: bigint) {
    const chain = [yield* snapshotOf(metadata, end)]
    for (;;) {
      const parent: bigint | null = chain.at(-1)!.parentSnapshotId
      if (parent === start || (start === null && !metadata.snapshots.some((each) => each.snapshotId === parent))) break
      if (parent === null || chain.length > metadata.snapshots.length) {
        return yield* refuse("BadRequestException", `Snapshot ${start} is no ancestor of snapshot ${end}.`)
      }
      chain.push(yield* snapshotOf(metadata, parent))
    }
    return chain
  })

  const scan = Effect.fnUntraced(function* (metadataLocation: string, request: Request) {
    const end = request["end-snapshot-id"] ?? null
    const start = request["start-snapshot-id"] ?? null
    const at = request["snapshot-id"] ?? null
    if (at !== null && (end !== null || start !== null)) {
      return yield* refuse("BadRequestException", "A scan is of one snapshot or of what lies between two, not both.")
    }
    if (start !== null && end === null)
      return yield* refuse("BadRequestException", "start-snapshot-id needs an end-snapshot-id.")
    const { metadata } = yield* planner.plan(metadataLocation, { predicates: [{ op: "or", of: [] }] })
    const wanted = at ?? end
    const snapshot = wanted === null ? null : yield* snapshotOf(metadata, wanted)
    const schemaId =
      snapshot !== null && request["use-snapshot-schema"] === true ? snapshot.schemaId : metadata.currentSchemaId
    const schema = metadata.schemas.find((candidate) => candidate.schemaId === schemaId) ?? metadata.schemas[0]!
    const predicate =
      request.filter === undefined || request.filter === null
        ? null
        : yield* Effect.fromResult(scanPredicate(request.filter, schema, request["case-sensitive"] !== false))
    const plan = yield* planner.plan(metadataLocation, {
      ...(wanted === null ? {} : { snapshotId: wanted }),
      ...(predicate === null ? {} : { predicates: [predicate] }),
    })
    if (end === null) return { metadata, schema, files: plan.files, deletes: plan.deletes }
    // Only what appends brought: a compaction's files are rows that were there before.
    const appended = new Set(
      (yield* between(metadata, start, end))
        .filter(({ summary }) => summary.operation === "append")
        .map(({ sequenceNumber }) => sequenceNumber),
    )
    const files = plan.files.filter((file) => appended.has(file.sequenceNumber ?? -1n))
    return { metadata, schema, files, deletes: plan.deletes }
  })

  const answer = Effect.fnUntraced(function* (planned: Planned) {
    const { request, metadataLocation, from } = planned
    const { deletes, files, metadata, schema } = yield* scan(metadataLocation, request)
    const shown = files.slice(from, from + filesInAnswer)
    const applied = applyDeletes(metadata.partitionSpecs, shown, deletes)
    const print = fileJson(metadata, {
      statistics:
        request["stats-fields"] === undefined || request["stats-fields"] === null
          ? null
          : columnIds(schema, request["stats-fields"]),
    })
    const numbers = new Map<DeleteFile, number>()
    const referencesOf = (file: DataFile) => {
      const found = applied.get(file)
      if (found === undefined) return []
      const concerned = [...found.positions, ...(found.vector === null ? [] : [found.vector]), ...found.equality]
      return concerned.map((each) => {
        const number = numbers.get(each) ?? numbers.size
        numbers.set(each, number)
        return number
      })
    }
    const tasks = shown.map((file) => {
      const references = referencesOf(file)
      return { "data-file": print(file), ...(references.length === 0 ? {} : { "delete-file-references": references }) }
    })
    return { tasks, deleteFiles: [...numbers.keys()].map(print), count: files.length }
  })

  const completed = Effect.fnUntraced(function* (planned: Planned, planId: string | null) {
    const { count, deleteFiles, tasks } = yield* answer(planned)
    const later: Array<string> = []
    for (let from = filesInAnswer; from < count; from += filesInAnswer) later.push(encodePlanned({ ...planned, from }))
    return jsonAnswer({
      status: "completed",
      ...(planId === null ? {} : { "plan-id": planId }),
      "file-scan-tasks": tasks,
      ...(deleteFiles.length === 0 ? {} : { "delete-files": deleteFiles }),
      ...(later.length === 0 ? {} : { "plan-tasks": later }),
    })
  })

  /** A plan is of a table: one that was made for another is not found there. */
  const belongs = Effect.fnUntraced(function* (call: RestCall, { metadataLocation }: Planned, type: RestFailureType) {
    const pointer = yield* tables.required(call)
    const folder = (location: string) => location.slice(0, location.lastIndexOf("/"))
    if (folder(pointer.metadataLocation) !== folder(metadataLocation)) {
      return yield* refuse(type, "There is no such plan of this table. Plan the scan again.")
    }
  })

  /** What a plan speaks of may have been removed since; and nobody but us makes plan ids, but anybody can send one. */
  const orGone = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>, type: RestFailureType) =>
    Effect.catchIf(
      effect,
      (error) => error._tag === "ObjectNotFound" || error._tag === "TableCorrupt",
      () => Effect.fail(refuse(type, "The plan has expired. Plan the scan again.")),
    )

  return {
    plan: Effect.fnUntraced(function* (call: RestCall) {
      const request = yield* requestBody(call.body)
      const { metadataLocation } = yield* tables.required(call)
      const planned = { metadataLocation, request, from: 0 }
      const id = encodePlanned(planned)
      return yield* completed(planned, id.length <= maxPlanId ? id : id.slice(0, 64))
    }),
    fetch: Effect.fnUntraced(function* (call: RestCall) {
      const planned = yield* decodePlanned(call.names["plan-id"]!, "NoSuchPlanIdException")
      yield* belongs(call, planned, "NoSuchPlanIdException")
      return yield* orGone(completed(planned, null), "NoSuchPlanIdException")
    }),
    /** Nothing is held for a plan, so there is nothing to let go. */
    cancel: (call: RestCall) => Effect.as(tables.required(call), noContent),
    tasks: Effect.fnUntraced(function* (call: RestCall) {
      const body = yield* tasksBody(call.body)
      const planned = yield* decodePlanned(body["plan-task"], "NoSuchPlanTaskException")
      yield* belongs(call, planned, "NoSuchPlanTaskException")
      const { deleteFiles, tasks } = yield* orGone(answer(planned), "NoSuchPlanTaskException")
      return jsonAnswer({
        "file-scan-tasks": tasks,
        ...(deleteFiles.length === 0 ? {} : { "delete-files": deleteFiles }),
      })
    }),
  }
})
