import type { TableMetadata } from "../iceberg/TableMetadata.ts"

/**
 * Where a table remembers the merge key of its pipeline: a JSON list of column names. Identifier fields cannot say it, since they must be
 * required and our columns are optional.
 */
export const mergeKeyProperty = "rat.unique-key"

/** Names of the columns that tell the table's rows apart, as its last run had them; empty where nobody said. */
export const mergeKeyOf = ({ properties }: Pick<TableMetadata, "properties">): ReadonlyArray<string> => {
  try {
    const names: unknown = JSON.parse(properties[mergeKeyProperty] ?? "[]")
    return Array.isArray(names) && names.every((name) => typeof name === "string") ? names : []
  } catch {
    return [] // somebody else wrote it
  }
}
