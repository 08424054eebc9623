import { Layer, type NamespaceName } from "@rat/domain"
import { Effect, Schema } from "effect"
import { SqlClient } from "effect/sql"
import { NamespaceRepository } from "../namespace/NamespaceRepository.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { page } from "./Page.ts"
import type { RefScope } from "./RefScope.ts"
import { bodyAs, jsonAnswer, noContent, type RestCall } from "./RestCall.ts"
import { refuse } from "./RestFailure.ts"
import { knownNamespace, namespaceParts, newNamespace, type RestNamespace, shownParts } from "./RestName.ts"

/**
 * Namespaces are those of the whole server, the layers below each of them are always there. Neither is versioned: branches and
 * tags show the same ones.
 */

/** Shown as a property; it is the description that people see elsewhere. */
const comment = "comment"

const maxProperties = 100
const Properties = Schema.Record(
  Schema.String.check(Schema.isMaxLength(256)),
  Schema.String.check(Schema.isMaxLength(5000)),
)

const createBody = bodyAs(
  Schema.Struct({ namespace: Schema.Array(Schema.String), properties: Schema.optionalKey(Schema.NullOr(Properties)) }),
  "request for a namespace",
)
const updateBody = bodyAs(
  Schema.Struct({
    removals: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.String))),
    updates: Schema.optionalKey(Schema.NullOr(Properties)),
  }),
  "change of properties",
)

/** Far above what a server has; a list of all is what clients without paging expect. */
const maxListed = 100_000

export const makeNamespaces = Effect.fnUntraced(function* (refs: RefScope) {
  const sql = yield* SqlClient.SqlClient
  const namespaces = yield* NamespaceRepository

  /** Refuses a namespace that is not there. */
  const required = Effect.fnUntraced(function* (parts: ReadonlyArray<string>) {
    const known = yield* Effect.fromResult(knownNamespace(parts))
    if (!(yield* namespaces.exists(known.namespace))) {
      return yield* refuse("NoSuchNamespaceException", `Namespace "${shownParts(parts)}" does not exist.`)
    }
    return known
  })

  const propertiesOf = Effect.fnUntraced(function* ({ namespace, layer }: RestNamespace) {
    const [row] = yield* sql<{ readonly description: string; readonly properties: Record<string, string> | null }>`
      select n.description, p.properties
      from namespace n
      left join iceberg_namespace p on p.namespace = n.name and p.layer = ${layer ?? ""}
      where n.name = ${namespace}`
    return {
      ...row?.properties,
      ...(layer === null && row?.description ? { [comment]: row.description } : {}),
    }
  })

  const store = Effect.fnUntraced(function* (
    { namespace, layer }: RestNamespace,
    properties: Readonly<Record<string, string>>,
  ) {
    const { [comment]: description, ...others } = properties
    if (layer === null && description !== undefined) yield* namespaces.describe(namespace, description)
    const kept = layer === null ? others : properties
    if (Object.keys(kept).length > maxProperties) {
      return yield* refuse("BadRequestException", `A namespace has at most ${maxProperties} properties.`)
    }
    yield* sql`
      insert into iceberg_namespace (namespace, layer, properties)
      values (${namespace}, ${layer ?? ""}, ${toJsonb(kept)}::jsonb)
      on conflict (namespace, layer) do update
      set properties = excluded.properties`
  })

  const list = Effect.fnUntraced(function* (call: RestCall) {
    yield* refs.exists(call.ref)
    const parent = call.query.get("parent") ?? ""
    const found: ReadonlyArray<ReadonlyArray<string>> =
      parent === ""
        ? (yield* namespaces.list({ limit: maxListed, offset: 0 })).namespaces.map(({ name }) => [name])
        : yield* below(namespaceParts(parent))
    const { items, next } = yield* page(call.query, found, (parts) => shownParts(parts))
    return jsonAnswer({ "next-page-token": next, namespaces: items })
  })

  const below = Effect.fnUntraced(function* (parts: ReadonlyArray<string>) {
    const { namespace, layer } = yield* required(parts)
    return layer === null ? Layer.literals.map((each) => [namespace, each] as ReadonlyArray<string>) : []
  })

  const create = Effect.fnUntraced(function* (call: RestCall) {
    const body = yield* createBody(call.body)
    yield* refs.writable(call.ref)
    const wanted = yield* Effect.fromResult(newNamespace(body.namespace))
    const properties = body.properties ?? {}
    if (wanted.layer !== null) {
      yield* required([wanted.namespace])
      return yield* refuse(
        "AlreadyExistsException",
        `Namespace "${shownParts(body.namespace)}" already exists: every namespace has the layers bronze, silver and gold.`,
      )
    }
    yield* sql.withTransaction(
      Effect.andThen(
        namespaces.create(wanted.namespace, ""),
        Object.keys(properties).length === 0 ? Effect.void : store(wanted, properties),
      ),
    )
    return jsonAnswer({ namespace: [wanted.namespace], properties })
  })

  const load = Effect.fnUntraced(function* (call: RestCall) {
    yield* refs.exists(call.ref)
    const parts = namespaceParts(call.names.namespace!)
    const known = yield* required(parts)
    return jsonAnswer({ namespace: parts, properties: yield* propertiesOf(known) })
  })

  const exists = Effect.fnUntraced(function* (call: RestCall) {
    yield* refs.exists(call.ref)
    yield* required(namespaceParts(call.names.namespace!))
    return noContent
  })

  const drop = Effect.fnUntraced(function* (call: RestCall) {
    yield* refs.writable(call.ref)
    const { namespace, layer } = yield* required(namespaceParts(call.names.namespace!))
    if (layer !== null) {
      return yield* refuse(
        "ForbiddenException",
        `"${namespace}.${layer}" cannot be dropped: every namespace has its three layers. Drop "${namespace}" when it is empty.`,
      )
    }
    yield* namespaces.remove(namespace)
    return noContent
  })

  const updateProperties = Effect.fnUntraced(function* (call: RestCall) {
    const body = yield* updateBody(call.body)
    yield* refs.writable(call.ref)
    const updates = body.updates ?? {}
    const removals = [...new Set(body.removals ?? [])]
    const both = removals.find((name) => Object.hasOwn(updates, name))
    if (both !== undefined) {
      return yield* refuse("UnprocessableEntityException", `The property "${both}" is both removed and set.`)
    }
    const known = yield* required(namespaceParts(call.names.namespace!))
    return yield* sql.withTransaction(
      Effect.gen(function* () {
        // One change of a namespace's properties at a time.
        yield* sql`select 1 from namespace where name = ${known.namespace} for no key update`
        const before: Record<string, string> = yield* propertiesOf(known)
        const removed = removals.filter((name) => Object.hasOwn(before, name))
        const after = Object.fromEntries(
          Object.entries({ ...before, ...updates }).filter(([name]) => !removals.includes(name)),
        )
        yield* store(known, known.layer === null ? { [comment]: "", ...after } : after)
        return jsonAnswer({
          updated: Object.keys(updates),
          removed,
          missing: removals.filter((name) => !removed.includes(name)),
        })
      }),
    )
  })

  /** Locks the namespace against being dropped until the transaction ends; for those who put something into it. */
  const hold = Effect.fnUntraced(function* (namespace: NamespaceName) {
    const rows = yield* sql`select 1 from namespace where name = ${namespace} for key share`
    if (rows.length === 0) {
      return yield* refuse("NoSuchNamespaceException", `Namespace "${namespace}" does not exist. Create it first.`)
    }
  })

  return { list, create, load, exists, drop, updateProperties, required, hold }
})

export type Namespaces = Effect.Success<ReturnType<typeof makeNamespaces>>
