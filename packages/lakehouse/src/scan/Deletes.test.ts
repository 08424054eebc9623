import * as fs from "node:fs/promises"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { DataFile, DeleteFile } from "../iceberg/DataFile.ts"
import { encodeDeletionVector } from "../iceberg/DeletionVector.ts"
import { encodePuffin } from "../iceberg/Puffin.ts"
import { encodeSingleValue } from "../iceberg/SingleValue.ts"
import type { PartitionSpec, Schema } from "../iceberg/TableMetadata.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { TestDuckDb, TestTables } from "../write/TestTable.ts"
import { derivedVectors } from "./DeletedPositions.ts"
import { applyDeletes } from "./DeleteIndex.ts"
import { relationOf } from "./Relation.ts"
import { makeVectorFiles } from "./VectorFile.ts"

const none = new Map<number, never>()
const facts = { columnSizes: none, valueCounts: none, nullValueCounts: none, nanValueCounts: none }
const bare = { ...facts, lowerBounds: none, upperBounds: none, fileSizeBytes: 1 }

const specs: ReadonlyArray<PartitionSpec> = [
  { specId: 0, fields: [] },
  { specId: 1, fields: [{ sourceId: 3, fieldId: 1000, name: "p", transform: "identity" }] },
]
const written: Schema = {
  schemaId: 0,
  identifierFieldIds: [],
  fields: [
    { id: 1, name: "id", required: false, type: "int" },
    { id: 2, name: "k", required: false, type: "string" },
    { id: 3, name: "p", required: false, type: "int" },
  ],
}
/** Promoted, renamed, reordered since. */
const current: Schema = {
  schemaId: 1,
  identifierFieldIds: [],
  fields: [
    { id: 2, name: "key", required: false, type: "string" },
    { id: 1, name: "id", required: false, type: "long" },
    { id: 3, name: "p", required: false, type: "int" },
  ],
}

/** Reproducible numbers (mulberry32). */
const randomOf = (seed: number) => {
  let state = seed
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

layer(TestTables, { excludeTestServices: true })("Deletes", (it) => {
  it.effect(
    "rows that position deletes, deletion vectors and equality deletes take away are gone, no others",
    () =>
      Effect.gen(function* () {
        const duck = yield* TestDuckDb
        const store = yield* ObjectStore
        const vectorFiles = yield* makeVectorFiles
        const seeds = [Math.floor(Math.random() * 2 ** 31), ...Array.from({ length: 40 }, (_, index) => index)]
        for (const seed of seeds) {
          const random = randomOf(seed)
          const folder = join(duck.folder, `deletes-${seed}`)
          yield* Effect.promise(() => fs.mkdir(folder))
          const paths = new Map<string, string>()
          let count = 0
          const copy = Effect.fnUntraced(function* (query: string, ids: string) {
            const path = join(folder, `${count++}.parquet`)
            yield* duck.rows(`copy (${query}) to '${path}' (format parquet, field_ids ${ids})`)
            const location = `file:///t/${seed}/${count}.parquet`
            paths.set(location, path)
            return location
          })

          interface Row {
            readonly id: number
            readonly k: string | null
            readonly p: number
          }
          const data: Array<{ readonly file: DataFile; readonly rows: ReadonlyArray<Row> }> = []
          for (let index = 0; index < 1 + random(5); index++) {
            const specId = random(2)
            const p = random(2)
            const rows = Array.from({ length: 1 + random(300) }, (_, row) => ({
              id: random(40) - 20 + (row === 0 ? 1000 : 0),
              k: random(4) === 0 ? null : `k${random(6)}`,
              p: specId === 1 ? p : random(2),
            }))
            const values = rows
              .map((row) => `(${row.id}, ${row.k === null ? "null" : `'${row.k}'`}, ${row.p})`)
              .join(", ")
            const filePath = yield* copy(
              `select id::int as id, k::varchar as k, p::int as p from (values ${values}) as t(id, k, p)`,
              "{id: 1, k: 2, p: 3}",
            )
            const file: DataFile = {
              ...bare,
              content: "data",
              filePath,
              specId,
              partition: specId === 1 ? [BigInt(p)] : [],
              recordCount: rows.length,
              sequenceNumber: BigInt(random(6)),
              // Some by promise of their writer, some by the field ids in them.
              ...(random(2) === 0 ? { schemaId: 0 } : {}),
            }
            data.push({ file, rows })
          }

          const dead = new Set<string>()
          const deletes: Array<DeleteFile> = []
          const someRows = (rows: number) =>
            [...new Set(Array.from({ length: 1 + random(60) }, () => random(rows)))].sort((a, b) => a - b)
          // Lists of positions, of one file or of several, some older than the file that they name.
          for (let index = 0; index < random(4); index++) {
            const first = data[random(data.length)]!
            const named = data.filter(
              ({ file }) =>
                file.specId === first.file.specId &&
                String(file.partition) === String(first.file.partition) &&
                (file === first.file || random(2) === 0),
            )
            const sequenceNumber = BigInt(random(7))
            const lines = named.flatMap(({ file, rows }) => someRows(rows.length).map((pos) => [file, pos] as const))
            for (const [file, pos] of lines)
              if (file.sequenceNumber! <= sequenceNumber) dead.add(`${file.filePath} ${pos}`)
            const filePath = yield* copy(
              `select * from (values ${lines.map(([file, pos]) => `('${file.filePath}', ${pos}::bigint)`).join(", ")}) t(file_path, pos) order by all`,
              "{file_path: 2147483546, pos: 2147483545}",
            )
            const locations = named.map(({ file }) => file.filePath).toSorted()
            const bound = (text: string) => new Map([[2_147_483_546, encodeSingleValue("string", text)]])
            deletes.push({
              ...bare,
              content: "position-deletes",
              format: "parquet",
              filePath,
              specId: first.file.specId,
              partition: first.file.partition,
              recordCount: lines.length,
              sequenceNumber,
              ...(random(2) === 0 ? { lowerBounds: bound(locations[0]!), upperBounds: bound(locations.at(-1)!) } : {}),
            })
          }
          // Deletion vectors replace the lists of their file.
          const withVector = data.filter(() => random(3) === 0)
          if (withVector.length > 0) {
            const positions = withVector.map(({ rows }) => someRows(rows.length))
            const puffin = encodePuffin(
              withVector.map(({ file }, index) => ({
                bytes: encodeDeletionVector(Float64Array.from(positions[index]!)),
                referencedDataFile: file.filePath,
                cardinality: positions[index]!.length,
              })),
            )
            const filePath = store.locationOf(`vectors/${seed}.puffin`)
            yield* store.put(store.keyOf(filePath), puffin.bytes)
            for (const [index, { file, rows }] of withVector.entries()) {
              for (let pos = 0; pos < rows.length; pos++) dead.delete(`${file.filePath} ${pos}`)
              for (const pos of positions[index]!) dead.add(`${file.filePath} ${pos}`)
              deletes.push({
                ...bare,
                content: "position-deletes",
                format: "puffin",
                filePath,
                specId: file.specId,
                partition: file.partition,
                recordCount: positions[index]!.length,
                sequenceNumber: 6n,
                referencedDataFile: file.filePath,
                ...puffin.places[index]!,
              })
            }
          }
          // Equality deletes by one or two columns, of a partition or of the whole table.
          for (let index = 0; index < random(4); index++) {
            const specId = random(2)
            const p = random(2)
            const byKey = random(2) === 0
            const keys = Array.from({ length: 1 + random(4) }, () => ({
              id: random(40) - 20,
              k: random(3) === 0 ? null : `k${random(6)}`,
            }))
            const sequenceNumber = BigInt(random(7))
            const values = keys
              .map(({ id, k }) => `(${id}::int, ${k === null ? "null" : `'${k}'`}::varchar)`)
              .join(", ")
            const filePath = yield* copy(
              `select ${byKey ? "k" : "k, id"} from (values ${values}) as t(id, k)`,
              byKey ? "{k: 2}" : "{k: 2, id: 1}",
            )
            deletes.push({
              ...bare,
              content: "equality-deletes",
              format: "parquet",
              filePath,
              specId,
              partition: specId === 1 ? [BigInt(p)] : [],
              recordCount: keys.length,
              sequenceNumber,
              equalityIds: byKey ? [2] : [1, 2],
            })
            for (const { file, rows } of data) {
              const concerns = specId === 0 || (file.specId === 1 && file.partition[0] === BigInt(p))
              if (!concerns || file.sequenceNumber! >= sequenceNumber) continue
              for (const [pos, row] of rows.entries()) {
                if (keys.some(({ id, k }) => k === row.k && (byKey || id === row.id)))
                  dead.add(`${file.filePath} ${pos}`)
              }
            }
          }

          const files = data.map(({ file }) => file)
          const applied = applyDeletes(specs, files, deletes)
          const vectors = derivedVectors(applied)
          for (const location of vectors.values()) paths.set(location, yield* vectorFiles.localPath(location))
          const scan = {
            schema: current,
            schemas: [written, current],
            specs,
            files,
            applied,
            vectors,
            inspected: new Map(),
          }
          const pathOf = (location: string) => paths.get(location)!
          const expected = data.flatMap(({ file, rows }, index) =>
            rows.flatMap((row, pos) =>
              dead.has(`${file.filePath} ${pos}`)
                ? []
                : [{ key: row.k, id: String(row.id), p: row.p, rat_file: String(index), rat_pos: String(pos) }],
            ),
          )
          const actual = yield* duck.rows(
            `select * from (${relationOf(scan, pathOf, { positions: true, lineage: false })}) order by rat_file, rat_pos`,
          )
          assert.deepStrictEqual(actual, expected, `seed ${seed}`)
          const plain = yield* duck.rows(`select * from (${relationOf(scan, pathOf)}) order by all`)
          const sorted = yield* duck.rows(
            `select key, id, p from (${relationOf(scan, pathOf, { positions: true, lineage: false })}) order by all`,
          )
          assert.deepStrictEqual(plain, sorted, `seed ${seed}`)
          assert.strictEqual(plain.length, expected.length)
        }
      }),
    { timeout: 60_000 },
  )

  it.effect("a file with very many deleted rows is read through bit masks, with the same result", () =>
    Effect.gen(function* () {
      const duck = yield* TestDuckDb
      const store = yield* ObjectStore
      const vectorFiles = yield* makeVectorFiles
      const data = join(duck.folder, "large.parquet")
      yield* duck.rows(
        `copy (select i::int as id, 'k' as k, 0 as p from range(700_001) t(i)) to '${data}' (format parquet)`,
      )
      const positions = Float64Array.from({ length: 300_000 }, (_, index) => index * 2 + (index > 1000 ? 1 : 0))
      const puffin = encodePuffin([
        { bytes: encodeDeletionVector(positions), referencedDataFile: "file:///l", cardinality: 300_000 },
      ])
      const filePath = store.locationOf("vectors/large.puffin")
      yield* store.put(store.keyOf(filePath), puffin.bytes)
      const file: DataFile = {
        ...bare,
        content: "data",
        filePath: "file:///l",
        specId: 0,
        partition: [],
        recordCount: 700_001,
        sequenceNumber: 1n,
        schemaId: 0,
      }
      const vector: DeleteFile = {
        ...bare,
        content: "position-deletes",
        format: "puffin",
        filePath,
        specId: 0,
        partition: [],
        recordCount: 300_000,
        sequenceNumber: 2n,
        referencedDataFile: "file:///l",
        ...puffin.places[0]!,
      }
      const applied = applyDeletes(specs, [file], [vector])
      const vectors = derivedVectors(applied)
      const [location] = [...vectors.values()]
      const unpacked = yield* vectorFiles.localPath(location!)
      assert.strictEqual(yield* vectorFiles.localPath(location!), unpacked)
      const sql = relationOf(
        { schema: current, schemas: [written, current], specs, files: [file], applied, vectors, inspected: new Map() },
        (name) => (name === location ? unpacked : data),
      )
      assert.include(sql, "bit_or")
      const [answer] = yield* duck.rows(`select count(*) as n, sum(id) as s from (${sql})`)
      const gone = positions.reduce((sum, position) => sum + position, 0)
      assert.deepStrictEqual(answer, { n: String(700_001 - 300_000), s: String((700_000 * 700_001) / 2 - gone) })
    }),
  )
})
