import { Catalog } from "@rat/lakehouse"
import { Effect, Schema } from "effect"
import type { Namespaces } from "./Namespaces.ts"
import { page } from "./Page.ts"
import type { RefScope } from "./RefScope.ts"
import { bodyAs, jsonAnswer, noContent, type RestAnswer, type RestCall } from "./RestCall.ts"
import { refuse } from "./RestFailure.ts"
import { identifierOf, knownTable, namespaceParts, newTable } from "./RestName.ts"
import type { TablePointers } from "./TablePointers.ts"

const Identifier = Schema.Struct({ namespace: Schema.Array(Schema.String), name: Schema.String })
export const renameBody = bodyAs(Schema.Struct({ source: Identifier, destination: Identifier }), "request to rename")

/** Tables of a branch or tag as they are: everything about them but their making and their commits. */
export const makeTables = Effect.fnUntraced(function* (rooms: {
  readonly refs: RefScope
  readonly namespaces: Namespaces
  readonly pointers: TablePointers
}) {
  const { namespaces, refs } = rooms
  const { change, found, refuseExisting, required, showing } = rooms.pointers
  const catalog = yield* Catalog

  const list = Effect.fnUntraced(function* (call: RestCall) {
    const { namespace, layer } = yield* namespaces.required(namespaceParts(call.names.namespace!))
    const pointers = layer === null ? [] : yield* catalog.tables(call.ref, { namespace, layer })
    if (layer === null) yield* refs.exists(call.ref)
    const { items, next } = yield* page(call.query, pointers, ({ key }) => key.name)
    return jsonAnswer({ "next-page-token": next, identifiers: items.map(({ key }) => identifierOf(key)) })
  })

  const load = Effect.fnUntraced(function* (call: RestCall, access: ReadonlyArray<string>) {
    const snapshots = call.query.get("snapshots") ?? "all"
    if (snapshots !== "all" && snapshots !== "refs") {
      return yield* refuse("BadRequestException", `snapshots is "${snapshots.slice(0, 20)}"; use all or refs.`)
    }
    const { key, metadataLocation } = yield* required(call)
    return {
      kind: "table",
      table: { ref: call.ref, key, metadataLocation, snapshots, access },
    } satisfies RestAnswer as RestAnswer
  })

  const drop = (call: RestCall) =>
    // Files stay, purged or not: other branches, tags and undrop may need them. Maintenance removes what nothing reaches.
    change(
      call,
      Effect.map(required(call), ({ key, metadataLocation }) => ({
        changes: [{ key, expected: metadataLocation, next: null, message: `drop ${key}`, rowsAdded: null }],
        answer: noContent,
      })),
    )

  const unregister = (call: RestCall) =>
    change(
      call,
      Effect.gen(function* () {
        const { key, metadataLocation } = yield* required(call)
        return {
          changes: [{ key, expected: metadataLocation, next: null, message: `unregister ${key}`, rowsAdded: null }],
          answer: showing(call, key, metadataLocation, []),
        }
      }),
    )

  const rename = Effect.fnUntraced(function* (call: RestCall) {
    const { destination, source } = yield* renameBody(call.body)
    const from = yield* Effect.fromResult(knownTable(source.namespace, source.name))
    const to = yield* Effect.fromResult(newTable(destination.namespace, destination.name))
    yield* refs.writable(call.ref)
    return yield* change(
      call,
      Effect.gen(function* () {
        const { key: _, updatedAt: __, ...next } = yield* found(call, from)
        yield* namespaces.required(destination.namespace)
        yield* refuseExisting(call, to)
        return {
          changes: [
            {
              key: from,
              expected: next.metadataLocation,
              next: null,
              message: `rename ${from} to ${to}`,
              rowsAdded: null,
            },
            { key: to, expected: null, next, message: `table ${to}`, rowsAdded: null },
          ],
          answer: noContent,
          created: to,
        }
      }),
    )
  })

  return {
    list,
    load,
    exists: (call: RestCall) => Effect.as(required(call), noContent),
    drop,
    unregister,
    rename,
    /** Reports of clients are accepted for tables that are there; nothing is kept of them. */
    reportMetrics: (call: RestCall) => Effect.as(required(call), noContent),
  }
})
