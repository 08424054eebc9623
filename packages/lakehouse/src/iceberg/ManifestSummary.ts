import type { ManifestEntry } from "./Manifest.ts"
import type { FieldSummary, ManifestFile } from "./ManifestList.ts"
import type { PartitionField } from "./PartitionSpec.ts"
import { compareSingleValues, encodeSingleValue, type SingleValue } from "./SingleValue.ts"

/** Counts, lowest sequence number and partition summaries of a manifest's entries, as its line in the manifest list says them. */
export const summarise = (
  entries: ReadonlyArray<ManifestEntry>,
  fields: ReadonlyArray<PartitionField>,
  commitSequenceNumber: bigint,
): Pick<
  ManifestFile,
  | "addedFiles"
  | "existingFiles"
  | "deletedFiles"
  | "addedRows"
  | "existingRows"
  | "deletedRows"
  | "minSequenceNumber"
  | "partitions"
> => {
  const files = { added: 0, existing: 0, deleted: 0 }
  const rows = { added: 0, existing: 0, deleted: 0 }
  let minSequenceNumber = commitSequenceNumber
  for (const { file, sequenceNumber, status } of entries) {
    files[status]++
    rows[status] += file.recordCount
    if (status !== "deleted" && sequenceNumber !== null && sequenceNumber < minSequenceNumber) {
      minSequenceNumber = sequenceNumber
    }
  }
  return {
    addedFiles: files.added,
    existingFiles: files.existing,
    deletedFiles: files.deleted,
    addedRows: rows.added,
    existingRows: rows.existing,
    deletedRows: rows.deleted,
    minSequenceNumber,
    partitions: fields.map((field, index) =>
      fieldSummary(
        field.type,
        entries.map(({ file }) => file.partition[index] ?? null),
      ),
    ),
  }
}

const fieldSummary = (type: string, values: ReadonlyArray<SingleValue | null>): FieldSummary => {
  let lower: SingleValue | undefined
  let upper: SingleValue | undefined
  let containsNull = false
  let containsNan = false
  for (const value of values) {
    if (value === null) containsNull = true
    else if (Number.isNaN(value)) containsNan = true
    else {
      if (lower === undefined || compareSingleValues(value, lower) < 0) lower = value
      if (upper === undefined || compareSingleValues(value, upper) > 0) upper = value
    }
  }
  return {
    containsNull,
    ...(type === "float" || type === "double" ? { containsNan } : {}),
    ...(lower === undefined ? {} : { lowerBound: encodeSingleValue(type, lower) }),
    ...(upper === undefined ? {} : { upperBound: encodeSingleValue(type, upper) }),
  }
}
