import { duckTypeOf } from "../engine/TypeMap.ts"
import type { DataFile, DeleteFile } from "../iceberg/DataFile.ts"
import type { Field } from "../iceberg/TableMetadata.ts"
import { partitionKey } from "./DeleteIndex.ts"
import { type ColumnSource, columnOf } from "./FileColumns.ts"
import { allFields, perFile } from "./FileGroup.ts"
import type { ScannedFiles } from "./Relation.ts"
import { quoteName, quotePath, quoteText } from "./SqlText.ts"

/** What has to be added to a scan so that equality deletes take their rows away. */
export interface EqualityDeletes {
  /** Hidden columns of the scan. */
  readonly columns: (sourceOf: ColumnSource) => ReadonlyArray<string>
  /** To stand behind the scan, which is called `rat_d`. */
  readonly joins: string
}

const keyName = (fieldId: number) => `rat_k${fieldId}`

/**
 * Equality deletes of data files as anti joins, one for each set of compared columns: a row goes when a newer delete has the same
 * values (NULL equals NULL), in its partition or anywhere where the delete's spec is unpartitioned (Iceberg spec,
 * "Equality Delete Files"). Both sides are read as the table's present types, so promotions do not matter. Null when there are none.
 */
export const equalityDeletes = (
  scan: ScannedFiles,
  files: ReadonlyArray<DataFile>,
  pathOf: (location: string) => string,
): EqualityDeletes | null => {
  const deletes = new Set(files.flatMap((file) => scan.applied.get(file)?.equality ?? []))
  if (deletes.size === 0) return null
  const fields = new Map(allFields(scan).map((field) => [field.id, field]))
  const isGlobal = new Set(scan.specs.filter(({ fields: parts }) => parts.length === 0).map(({ specId }) => specId))
  const partitions = new Map<string, number>()
  const partitionOf = (file: DataFile | DeleteFile) => {
    const key = partitionKey(file)
    const known = partitions.get(key) ?? partitions.size
    partitions.set(key, known)
    return known
  }
  const sets = Map.groupBy(deletes, (file) => {
    const ids = (file.equalityIds ?? []).toSorted((left, right) => left - right)
    return `${isGlobal.has(file.specId)} ${ids.join(",")}`
  })
  const keys = new Map<number, Field>()
  let joins = ""
  let index = 0
  for (const members of sets.values()) {
    const global = isGlobal.has(members[0]!.specId)
    const compared = (members[0]!.equalityIds ?? []).flatMap((id) => fields.get(id) ?? [])
    for (const field of compared) keys.set(field.id, field)
    const alias = `rat_e${index++}`
    const map = compared.map(
      ({ id, type }) =>
        `${id}: {name: ${quoteText(keyName(id))}, type: ${quoteText(duckTypeOf(type))}, default_value: null::varchar}`,
    )
    const list = (valueOf: (file: DeleteFile) => string | number | bigint) =>
      `([${members.map(valueOf).join(", ")}]::bigint[])[file_index::bigint + 1]`
    const names = compared.map(({ id }) => keyName(id))
    const grouped = [...names, ...(global ? [] : ["part"])]
    const source = `select ${names.join(", ")}, ${list((file) => file.sequenceNumber ?? 0n)} as seq${
      global ? "" : `, ${list(partitionOf)} as part`
    } from read_parquet([${members.map(({ filePath }) => quotePath(pathOf(filePath))).join(", ")}], hive_partitioning = false, schema = MAP{${map.join(", ")}})`
    const on = [
      ...names.map((name) => `rat_d.${quoteName(name)} is not distinct from ${alias}.${name}`),
      ...(global ? [] : [`rat_d.rat_part = ${alias}.part`]),
      `rat_d.rat_seq < ${alias}.seq`,
    ]
    joins += ` anti join (select ${grouped.join(", ")}, max(seq) as seq from (${source}) group by ${grouped.join(", ")}) as ${alias} on ${on.join(" and ")}`
  }
  const sequences = perFile(files, (file) => String(file.sequenceNumber ?? 0n), "bigint")
  const parts = perFile(files, (file) => String(partitionOf(file)), "bigint")
  return {
    columns: (sourceOf) => [
      ...Array.from(keys.values(), (field) => `${columnOf(field, sourceOf)} as ${keyName(field.id)}`),
      `${sequences} as rat_seq`,
      `${parts} as rat_part`,
    ],
    joins,
  }
}
