import type { DataFile } from "../iceberg/DataFile.ts"
import type { ManifestFile } from "../iceberg/ManifestList.ts"
import { type PartitionField, partitionFields } from "../iceberg/PartitionSpec.ts"
import type { SingleValue } from "../iceberg/SingleValue.ts"
import type { Field, PartitionSpec, Schema } from "../iceberg/TableMetadata.ts"
import { projectComparison } from "./PartitionProjection.ts"
import { type Comparison, type PlainPredicate, type ScanPredicate, withoutNot } from "./Predicate.ts"
import { typedComparison } from "./TypedComparison.ts"
import { decodeBound, rangeCanMatch, type TypedComparison, type ValueRange } from "./ValueRange.ts"

/*
 * Which files and manifests can be left out because no row of them satisfies all predicates, judged by partition values and the
 * manifests' statistics (Iceberg spec, "Scan Planning"). Invariant: a file with a matching row is never left out; whatever is
 * not known (no statistics, a value that is none of the column's type, an unknown transform) keeps the file.
 */

/** As DuckDB does: regardless of case. */
export const fieldNamed = (schema: Schema, name: string): Field | undefined =>
  schema.fields.find((field) => field.name.toLowerCase() === name.toLowerCase())

type Test<A> = (item: A) => boolean

const keepAll = () => true

/** A test of a whole predicate from one of its comparisons. */
const testOf = <A>(predicate: PlainPredicate, leaf: (comparison: Comparison) => Test<A>): Test<A> => {
  if (!("of" in predicate)) return leaf(predicate)
  const tests = predicate.of.map((part) => testOf(part, leaf))
  return predicate.op === "and"
    ? (item) => tests.every((test) => test(item))
    : (item) => tests.some((test) => test(item))
}

const plainPredicates = (predicates: ReadonlyArray<ScanPredicate>): ReadonlyArray<PlainPredicate> =>
  predicates.map((predicate) => withoutNot(predicate)).filter((predicate) => predicate !== null)

/** Comparisons of partition fields that follow from a comparison of a column, by spec. */
const projections = (
  schema: Schema,
  specs: ReadonlyArray<PartitionSpec>,
  field: Field,
  typed: TypedComparison,
): ReadonlyMap<
  number,
  ReadonlyArray<{ readonly index: number; readonly field: PartitionField; readonly typed: TypedComparison }>
> =>
  new Map(
    specs.map((spec) => [
      spec.specId,
      spec.fields.some(({ sourceId }) => sourceId === field.id)
        ? partitionFields(spec, [schema], schema.schemaId).flatMap((part, index) => {
            if (part.sourceId !== field.id || typeof field.type !== "string") return []
            const projected = projectComparison(part.transform, field.type, typed)
            return projected === undefined ? [] : [{ index, field: part, typed: projected }]
          })
        : [],
    ]),
  )

export const pruneFiles = (
  schema: Schema,
  specs: ReadonlyArray<PartitionSpec>,
  files: ReadonlyArray<DataFile>,
  predicates: ReadonlyArray<ScanPredicate>,
): ReadonlyArray<DataFile> => {
  const leaf = (comparison: Comparison): Test<DataFile> => {
    const field = fieldNamed(schema, comparison.column)
    if (field === undefined) return keepAll
    const { id, type } = field
    // Counts inside nested columns are of their leaves.
    if (typeof type !== "string") return keepAll
    const typed = typedComparison(type, comparison)
    if (typed === undefined) {
      // Whatever the value is: nothing compares with NULL.
      return (file) => comparison.op === "is null" || !fileRange(id, type, file).isAllNull
    }
    const projected = projections(schema, specs, field, typed)
    return (file) =>
      rangeCanMatch(fileRange(id, type, file), typed) &&
      (projected.get(file.specId) ?? []).every((part) =>
        rangeCanMatch(partitionRange(file.partition[part.index]), part.typed),
      )
  }
  const tests = plainPredicates(predicates).map((predicate) => testOf(predicate, leaf))
  return tests.length === 0 ? files : files.filter((file) => tests.every((test) => test(file)))
}

const fileRange = (id: number, type: string, file: DataFile): ValueRange => {
  const values = file.valueCounts.get(id)
  const nulls = file.nullValueCounts.get(id)
  return {
    lower: decodeBound(type, file.lowerBounds.get(id)),
    upper: decodeBound(type, file.upperBounds.get(id)),
    // A column that the file lacks has no counts at all.
    hasNulls: nulls !== 0,
    isAllNull: values !== undefined && nulls === values,
    mayHoldNan: (type === "float" || type === "double") && file.nanValueCounts.get(id) !== 0,
  }
}

const partitionRange = (value: SingleValue | null | undefined): ValueRange => ({
  lower: value === null || Number.isNaN(value) ? undefined : value,
  upper: value === null || Number.isNaN(value) ? undefined : value,
  hasNulls: value === null || value === undefined,
  isAllNull: value === null,
  mayHoldNan: value === undefined || Number.isNaN(value),
})

/** Whether a manifest of data files may list one with matching rows, by the summaries of partition values in the manifest list. */
export const manifestPruning = (
  schema: Schema,
  specs: ReadonlyArray<PartitionSpec>,
  predicates: ReadonlyArray<ScanPredicate>,
): Test<ManifestFile> => {
  const leaf = (comparison: Comparison): Test<ManifestFile> => {
    const field = fieldNamed(schema, comparison.column)
    if (field === undefined || typeof field.type !== "string") return keepAll
    const typed = typedComparison(field.type, comparison)
    if (typed === undefined) return keepAll
    const projected = projections(schema, specs, field, typed)
    return (line) =>
      (projected.get(line.partitionSpecId) ?? []).every((part) => {
        const summary = line.partitions?.[part.index]
        if (summary === undefined) return true
        const lower = decodeBound(part.field.type, summary.lowerBound)
        const upper = decodeBound(part.field.type, summary.upperBound)
        const isFloating = part.field.type === "float" || part.field.type === "double"
        const mayHoldNan = isFloating && summary.containsNan !== false
        return rangeCanMatch(
          {
            lower,
            upper,
            hasNulls: summary.containsNull,
            isAllNull:
              summary.containsNull &&
              !mayHoldNan &&
              summary.lowerBound === undefined &&
              summary.upperBound === undefined,
            mayHoldNan,
          },
          part.typed,
        )
      })
  }
  const tests = plainPredicates(predicates).map((predicate) => testOf(predicate, leaf))
  return (line) => tests.every((test) => test(line))
}
