import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { DataFile } from "../iceberg/DataFile.ts"
import type { ManifestFile } from "../iceberg/ManifestList.ts"
import { compareSingleValues, encodeSingleValue, type SingleValue } from "../iceberg/SingleValue.ts"
import { printSingleValue } from "../iceberg/SingleValueText.ts"
import type { PartitionSpec, Schema } from "../iceberg/TableMetadata.ts"
import { applyTransform, parseTransform, resultType } from "../iceberg/Transform.ts"
import { partitionKey } from "./DeleteIndex.ts"
import type { ScanPredicate } from "./Predicate.ts"
import { manifestPruning, pruneFiles } from "./Pruning.ts"

type Row = SingleValue | null

/** SQL's three values: null is unknown. */
const judge = (predicate: ScanPredicate, row: Row, parse: (value: unknown) => SingleValue): boolean | null => {
  switch (predicate.op) {
    case "and":
    case "or": {
      const parts = predicate.of.map((part) => judge(part, row, parse))
      const decisive = predicate.op === "or"
      return parts.includes(decisive) ? decisive : parts.includes(null) ? null : !decisive
    }
    case "not": {
      const inner = judge(predicate.of, row, parse)
      return inner === null ? null : !inner
    }
    case "is null":
      return row === null
    case "is not null":
      return row !== null
    case "in":
      return row === null ? null : predicate.values.some((value) => compareSingleValues(row, parse(value)) === 0)
    case "starts with":
      return row === null ? null : String(row).startsWith(predicate.value)
    default: {
      if (row === null) return null
      const order = compareSingleValues(row, parse(predicate.value))
      return { "=": order === 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0 }[predicate.op]
    }
  }
}

const small = fc.integer({ min: -6, max: 6 })
const micros = fc
  .tuple(small, fc.constantFrom(0n, 1n, -1n))
  .map(([hours, more]) => BigInt(hours) * 3_600_000_000n + more)
const texts = fc.constantFrom("", "a", "ab", "abc", "abd", "b", "é", "éa", "\u{1F600}", "\u{1F600}x", "\uFFFDx")
const cases: ReadonlyArray<
  readonly [type: string, values: fc.Arbitrary<SingleValue>, transforms: ReadonlyArray<string>]
> = [
  ["int", small.map(BigInt), ["identity", "bucket[3]", "truncate[4]", "void"]],
  ["long", small.map(BigInt), ["identity", "bucket[3]", "truncate[5]"]],
  ["decimal(9,2)", small.map((value) => BigInt(value) * 25n), ["identity", "bucket[3]", "truncate[50]"]],
  ["string", texts, ["identity", "bucket[4]", "truncate[1]", "truncate[2]"]],
  ["date", small.map((value) => BigInt(value) * 20n), ["identity", "year", "month", "day", "bucket[5]"]],
  [
    "timestamp",
    fc.oneof(
      micros,
      micros.map((value) => value * 500n),
    ),
    ["year", "month", "day", "hour", "bucket[5]"],
  ],
  ["boolean", fc.boolean(), ["identity"]],
]

const predicates = (type: string, values: fc.Arbitrary<SingleValue>): fc.Arbitrary<ScanPredicate> => {
  const text = values.map((value) => printSingleValue(type, value))
  const leaf = fc.oneof(
    fc.record({ column: fc.constant("c"), op: fc.constantFrom("=" as const, "<", "<=", ">", ">="), value: text }),
    fc.record({ column: fc.constant("c"), op: fc.constantFrom("is null" as const, "is not null") }),
    fc.record({ column: fc.constant("c"), op: fc.constant("in" as const), values: fc.array(text, { maxLength: 3 }) }),
    ...(type === "string"
      ? [fc.record({ column: fc.constant("c"), op: fc.constant("starts with" as const), value: texts })]
      : []),
  ) as fc.Arbitrary<ScanPredicate>
  return fc.letrec<{ tree: ScanPredicate }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      leaf,
      fc.record({ op: fc.constantFrom("and" as const, "or"), of: fc.array(tie("tree"), { maxLength: 3 }) }),
      fc.record({ op: fc.constant("not" as const), of: tie("tree") }),
    ) as fc.Arbitrary<ScanPredicate>,
  })).tree
}

describe("Pruning by partitions", () => {
  for (const [type, values, transforms] of cases) {
    for (const transform of transforms) {
      it(`no file or manifest with a matching row is left out: ${transform}(${type})`, () => {
        const schema: Schema = {
          schemaId: 0,
          identifierFieldIds: [],
          fields: [{ id: 1, name: "c", required: false, type }],
        }
        const spec: PartitionSpec = { specId: 7, fields: [{ sourceId: 1, fieldId: 1000, name: "p", transform }] }
        const parsed = parseTransform(transform)
        const partitionType = resultType(parsed, type)!
        const known = new Map<string, SingleValue>()
        fc.assert(
          fc.property(
            fc.array(fc.option(values, { freq: 5 }), { minLength: 1, maxLength: 12 }),
            predicates(type, values),
            (rows, predicate) => {
              for (const row of rows) if (row !== null) known.set(printSingleValue(type, row), row)
              const parse = (text: unknown) => known.get(String(text)) ?? parseText(type, String(text))
              const groups = Map.groupBy(rows, (row) =>
                partitionKey({ specId: 7, partition: [applyTransform(parsed, type, row) ?? null] }),
              )
              const none = new Map<number, never>()
              const files = Array.from(
                groups.values(),
                (members): DataFile => ({
                  content: "data",
                  filePath: "f",
                  specId: 7,
                  partition: [applyTransform(parsed, type, members[0]!) ?? null],
                  recordCount: members.length,
                  fileSizeBytes: 1,
                  columnSizes: none,
                  valueCounts: none,
                  nullValueCounts: none,
                  nanValueCounts: none,
                  lowerBounds: none,
                  upperBounds: none,
                }),
              )
              const matches = [...groups.values()].map((members) =>
                members.some((row) => judge(predicate, row, parse) === true),
              )
              const kept = new Set(pruneFiles(schema, [spec], files, [predicate]))
              for (const [index, file] of files.entries()) if (matches[index]) assert.isTrue(kept.has(file))
              // One manifest that lists them all.
              const parts = files
                .map(({ partition }) => partition[0]!)
                .filter((value) => value !== null)
                .toSorted(compareSingleValues)
              const line = {
                partitionSpecId: 7,
                content: "data",
                partitions: [
                  {
                    containsNull: files.some(({ partition }) => partition[0] === null),
                    ...(parts.length === 0
                      ? {}
                      : {
                          lowerBound: encodeSingleValue(partitionType, parts[0]!),
                          upperBound: encodeSingleValue(partitionType, parts.at(-1)!),
                        }),
                  },
                ],
              } as Partial<ManifestFile> as ManifestFile
              if (matches.includes(true)) assert.isTrue(manifestPruning(schema, [spec], [predicate])(line))
            },
          ),
          { numRuns: 300 },
        )
      })
    }
  }

  it("files and manifests of other partitions are left out", () => {
    const schema: Schema = {
      schemaId: 0,
      identifierFieldIds: [],
      fields: [{ id: 1, name: "ts", required: false, type: "timestamp" }],
    }
    const specs = [{ specId: 0, fields: [{ sourceId: 1, fieldId: 1000, name: "ts_day", transform: "day" }] }]
    const bound = (day: bigint) => encodeSingleValue("date", day)
    const line = (from: bigint, to: bigint) =>
      ({
        partitionSpecId: 0,
        content: "data",
        partitions: [{ containsNull: false, lowerBound: bound(from), upperBound: bound(to) }],
      }) as Partial<ManifestFile> as ManifestFile
    // Day 1 is 1970-01-02. `<` midnight means the day before.
    const test = manifestPruning(schema, specs, [{ column: "ts", op: "<", value: "1970-01-03 00:00:00" }])
    assert.isTrue(test(line(1n, 5n)))
    assert.isFalse(test(line(2n, 5n)))
    const either = manifestPruning(schema, specs, [
      {
        op: "or",
        of: [
          { column: "ts", op: "is null" },
          { column: "ts", op: "=", value: "1970-01-05 10:00:00" },
        ],
      },
    ])
    assert.deepStrictEqual([line(0n, 3n), line(4n, 4n), line(5n, 9n)].map(either), [false, true, false])
  })
})

/** A predicate's value that no row has. */
const parseText = (type: string, text: string): SingleValue => {
  if (type === "string") return text
  if (type === "boolean") return text === "true"
  if (type.startsWith("decimal")) return BigInt(Math.round(Number(text) * 100))
  if (type === "date") return BigInt(Date.parse(`${text}T00:00:00Z`) / 86_400_000)
  if (type === "timestamp") {
    const [whole, fraction = ""] = text.split(".")
    return BigInt(Date.parse(`${whole!.replace(" ", "T")}Z`)) * 1000n + BigInt(fraction.padEnd(6, "0"))
  }
  return BigInt(text)
}
