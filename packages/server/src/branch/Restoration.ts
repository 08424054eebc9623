import type { TableChange, TablePointer } from "@rat/lakehouse"

/** The changes that make the tables of `now` those of `then`, in the order of their names. */
export const changesBack = (
  then: ReadonlyArray<TablePointer>,
  now: ReadonlyArray<TablePointer>,
): ReadonlyArray<TableChange> => {
  const before = new Map(then.map((pointer) => [pointer.key.toString(), pointer]))
  const current = new Map(now.map((pointer) => [pointer.key.toString(), pointer]))
  return [...new Set([...before.keys(), ...current.keys()])].sort().flatMap((table) => {
    const [old, there] = [before.get(table), current.get(table)]
    if (old?.metadataLocation === there?.metadataLocation) return []
    return [{ key: (old ?? there)!.key, expected: there?.metadataLocation ?? null, next: old ?? null }]
  })
}
