import type { SingleValue } from "../iceberg/SingleValue.ts"
import { applyTransform, type Transform } from "../iceberg/Transform.ts"
import type { TypedComparison } from "./ValueRange.ts"

/** Types whose values are whole numbers here, so that `<` is `<=` of the one before. */
const isDiscrete = (type: string): boolean =>
  /^(int|long|date|time|timestamp|timestamptz|timestamp_ns|timestamptz_ns|decimal\(.*\))$/.test(type)

/**
 * What a partition field's value satisfies when the column satisfies the comparison (Iceberg spec, "Partition Transforms":
 * inclusive projection). Undefined when nothing follows.
 */
export const projectComparison = (
  transform: Transform,
  type: string,
  comparison: TypedComparison,
): TypedComparison | undefined => {
  if (transform.kind === "void" || transform.kind === "unknown") return undefined
  // Every other transform gives NULL for NULL and nothing else.
  if (comparison.op === "is null" || comparison.op === "is not null") return comparison
  if (transform.kind === "identity") return comparison
  const apply = (value: SingleValue): SingleValue | undefined => applyTransform(transform, type, value) ?? undefined
  if (comparison.op === "in" || comparison.op === "=") {
    const values = (comparison.op === "in" ? comparison.values : [comparison.value]).map(apply)
    if (values.includes(undefined)) return undefined
    return { op: "in", values: values.filter((value) => value !== undefined) }
  }
  if (transform.kind === "bucket") return undefined
  if (comparison.op === "starts with") {
    if (transform.kind !== "truncate") return undefined
    return { op: "starts with", value: Array.from(comparison.value).slice(0, transform.width).join("") }
  }
  const { op, value } = comparison
  const step = typeof value === "bigint" && isDiscrete(type) ? (op === "<" ? -1n : op === ">" ? 1n : 0n) : 0n
  const projected = apply(typeof value === "bigint" ? value + step : value)
  return projected === undefined ? undefined : { op: op === "<" || op === "<=" ? "<=" : ">=", value: projected }
}
