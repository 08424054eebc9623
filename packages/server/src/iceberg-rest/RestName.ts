import { Layer, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { Option, Result, Schema } from "effect"
import { type RestFailure, refuse } from "./RestFailure.ts"

/**
 * Names as they come in. They obey the rule of all names here, so nothing in them means anything to globs, paths, policies or
 * SQL: a name that breaks it cannot exist. Where it is looked for, it is missing; where it would be made, it is refused.
 */

/** `[namespace]` or `[namespace, layer]`. */
export interface RestNamespace {
  readonly namespace: NamespaceName
  readonly layer: Layer | null
}

/** Between the parts of a namespace in addresses. */
const separator = "\u001f"

const isName = Schema.is(NamespaceName)
const isLayer = Schema.is(Layer)
const isTableName = Schema.is(PipelineName)
const decodeRef = Schema.decodeUnknownOption(RefName)

const rule = "Names start with a lower-case letter and hold at most 128 lower-case letters, digits, '_' and '-'."

export const namespaceParts = (text: string): ReadonlyArray<string> => text.split(separator)

export const shownParts = (parts: ReadonlyArray<string>): string => parts.join(".")

/** A namespace that must exist to be of use; existence itself is the caller's question. */
export const knownNamespace = (parts: ReadonlyArray<string>): Result.Result<RestNamespace, RestFailure> => {
  const [namespace, layer] = parts
  return parts.length <= 2 && namespace !== undefined && isName(namespace) && (layer === undefined || isLayer(layer))
    ? Result.succeed({ namespace, layer: (layer as Layer | undefined) ?? null })
    : Result.fail(
        refuse(
          "NoSuchNamespaceException",
          `Namespace "${shownParts(parts)}" does not exist. Namespaces are NAME or NAME.LAYER, the layer being bronze, silver or gold.`,
        ),
      )
}

/** A namespace that is to be made. */
export const newNamespace = (parts: ReadonlyArray<string>): Result.Result<RestNamespace, RestFailure> => {
  const [namespace, layer] = parts
  if (namespace === undefined || parts.length > 2) {
    return Result.fail(refuse("BadRequestException", "A namespace has one or two parts: NAME or NAME.LAYER."))
  }
  if (!isName(namespace)) {
    return Result.fail(refuse("BadRequestException", `"${namespace}" cannot be a namespace. ${rule}`))
  }
  if (layer !== undefined && !isLayer(layer)) {
    return Result.fail(
      refuse(
        "BadRequestException",
        `"${layer}" is no layer. The second part of a namespace is bronze, silver or gold.`,
      ),
    )
  }
  return Result.succeed({ namespace, layer: layer ?? null })
}

/** A table or view that is looked for. Its namespace is judged first, as clients expect. */
export const knownTable = (
  parts: ReadonlyArray<string>,
  name: string,
  kind: "table" | "view" = "table",
): Result.Result<TableKey, RestFailure> =>
  Result.flatMap(knownNamespace(parts), ({ namespace, layer }) =>
    layer !== null && isTableName(name)
      ? Result.succeed(new TableKey({ namespace, layer, name }))
      : Result.fail(missing(kind, `${shownParts(parts)}.${name}`)),
  )

export const missing = (kind: "table" | "view", name: string): RestFailure =>
  kind === "table"
    ? refuse("NoSuchTableException", `Table "${name}" does not exist.`)
    : refuse("NoSuchViewException", `View "${name}" does not exist.`)

/** A table or view that is to be made. */
export const newTable = (parts: ReadonlyArray<string>, name: string): Result.Result<TableKey, RestFailure> =>
  Result.flatMap(knownNamespace(parts), ({ namespace, layer }) => {
    if (layer === null) {
      return Result.fail(
        refuse(
          "BadRequestException",
          `Tables live in a layer: use the namespace ${namespace}.bronze, ${namespace}.silver or ${namespace}.gold.`,
        ),
      )
    }
    return isTableName(name)
      ? Result.succeed(new TableKey({ namespace, layer, name }))
      : Result.fail(refuse("BadRequestException", `"${name}" cannot be the name of a table or view. ${rule}`))
  })

/** Null when no branch or tag can have the name. */
export const refNamed = (text: string): RefName | null => Option.getOrNull(decodeRef(text))

export const identifierOf = (key: TableKey) => ({ namespace: [key.namespace, key.layer], name: key.name })
