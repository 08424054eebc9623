import { join } from "node:path"
import { Effect, Ref } from "effect"
import { type DataFile, type DeleteFile, fileKey } from "../iceberg/DataFile.ts"
import { encodeDeletionVector } from "../iceberg/DeletionVector.ts"
import { IcebergTable, type TableCommit } from "../iceberg/IcebergTable.ts"
import type { MetadataUpdate } from "../iceberg/MetadataUpdate.ts"
import { encodePuffin } from "../iceberg/Puffin.ts"
import type { SnapshotChange } from "../iceberg/TableChange.ts"
import type { Schema } from "../iceberg/TableMetadata.ts"
import { applyTransform, parseTransform } from "../iceberg/Transform.ts"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { ObjectStore } from "../store/ObjectStore.ts"
import { type CopyRow, writtenFiles } from "../write/CopyStats.ts"
import { Engine } from "../write/Engine.ts"
import { TestDuckDb } from "../write/TestTable.ts"
import type { TableHead } from "./TableHead.ts"

/** A row of the tests' tables. `id` is unique, so a set of ids says which rows there are. */
export interface Row {
  readonly id: number
  readonly k: string | null
  readonly p: number
}

const schema: Schema = {
  schemaId: 0,
  identifierFieldIds: [],
  fields: [
    { id: 1, name: "id", required: false, type: "int" },
    { id: 2, name: "k", required: false, type: "string" },
    { id: 3, name: "p", required: false, type: "int" },
  ],
}

const none = new Map<number, never>()
const bare = {
  columnSizes: none,
  valueCounts: none,
  nullValueCounts: none,
  nanValueCounts: none,
  lowerBounds: none,
  upperBounds: none,
}

/** Reproducible numbers below a limit (mulberry32). */
export const randomOf = (seed: number) => {
  let state = seed
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

let tables = 0

/** The engine of the test's own process. `before` runs ahead of every statement: others at work meanwhile. */
export const testEngine = (before: Effect.Effect<void> = Effect.void) =>
  Effect.gen(function* () {
    const duck = yield* TestDuckDb
    const planner = yield* ScanPlanner
    const paths = new Map<string, string>()
    return Engine.of({
      run: (sql) => Effect.andThen(before, Effect.orDie(duck.rows(sql))),
      readable: (locations) =>
        Effect.forEach(locations, (location) =>
          // Local files of a file store stay where they are.
          Effect.map(Effect.scoped(planner.localPath(location)), (path) => paths.set(location, path)),
        ).pipe(Effect.as((location: string) => paths.get(location)!)),
      outFolder: duck.folder,
      written: () => Effect.void,
    })
  })

/**
 * A table whose writers are the test itself, with every kind of delete, so that what is expected does not come from the code
 * under test: `rows` is what the table must hold.
 */
export const makeTestTable = Effect.fnUntraced(function* (options: {
  readonly formatVersion: 2 | 3
  readonly partitioned: boolean
}) {
  const duck = yield* TestDuckDb
  const store = yield* ObjectStore
  const iceberg = yield* IcebergTable
  const planner = yield* ScanPlanner
  const name = `t${++tables}-${Math.random().toString(36).slice(2, 8)}`
  const location = store.locationOf(`ns/silver/${name}`)
  let count = 0
  let nextId = 1
  let rows: ReadonlyArray<Row> = []

  const made = yield* iceberg.commit({
    base: null,
    location,
    runId: `${name}-create`,
    updates: [
      ...(options.formatVersion === 3 ? [{ action: "upgrade-format-version" as const, formatVersion: 3 }] : []),
      { action: "add-schema", schema },
      { action: "set-current-schema", schemaId: -1 },
      ...(options.partitioned ? partitionedBy("identity") : []),
    ],
    snapshot: null,
  })
  const pointer = yield* Ref.make(made.metadataLocation)
  const head: TableHead<never> = {
    current: Ref.get(pointer),
    move: (from, next: TableCommit) =>
      Ref.modify(pointer, (now) => (now === from ? [true, next.metadataLocation] : [false, now])),
  }
  const current = Effect.gen(function* () {
    const metadataLocation = yield* Ref.get(pointer)
    return { metadataLocation, metadata: yield* iceberg.load(metadataLocation) }
  })
  const change = Effect.fnUntraced(function* (
    snapshot: Partial<SnapshotChange> | null,
    updates: ReadonlyArray<MetadataUpdate> = [],
  ) {
    const base = yield* current
    const next = yield* iceberg.commit({
      base,
      location,
      runId: `${name}-${++count}`,
      updates,
      snapshot:
        snapshot === null
          ? null
          : {
              operation: "append",
              added: [],
              addedDeletes: [],
              removed: new Set(),
              removedDeletes: new Set(),
              ...snapshot,
            },
    })
    if (!(yield* head.move(base.metadataLocation, next, "test"))) return yield* Effect.die("the test raced with itself")
    return next
  })

  const write = Effect.fnUntraced(function* (content: ReadonlyArray<Row>) {
    const { metadata } = yield* current
    const [field] = metadata.partitionSpecs.find((spec) => spec.specId === metadata.defaultSpecId)!.fields
    const partitionOf = (row: Row) =>
      field === undefined ? [] : [applyTransform(parseTransform(field.transform), "int", BigInt(row.p))!]
    const parts = [...Map.groupBy(content, (row) => partitionOf(row).join()).values()]
    return yield* Effect.forEach(parts, (part) =>
      Effect.gen(function* () {
        const values = part.map((row) => `(${row.id}, ${row.k === null ? "null" : `'${row.k}'`}, ${row.p})`).join(", ")
        const target = join(duck.folder, `${name}-w${++count}.parquet`)
        const copied: ReadonlyArray<CopyRow> = yield* duck.rows(
          `copy (select id::int as id, k::varchar as k, p::int as p from (values ${values}) t(id, k, p)) to '${target}' (format parquet, field_ids {id: 1, k: 2, p: 3}, return_stats true)`,
        )
        const [written] = writtenFiles(copied, schema, () => `${location}/data/w${count}.parquet`)
        yield* store.putFile(store.keyOf(written!.file.filePath), written!.localPath)
        return {
          ...written!.file,
          schemaId: metadata.currentSchemaId,
          specId: metadata.defaultSpecId,
          partition: partitionOf(part[0]!),
        } satisfies DataFile as DataFile
      }),
    )
  })

  const append = Effect.fnUntraced(function* (content: ReadonlyArray<Omit<Row, "id">>) {
    const fresh = content.map((row) => ({ ...row, id: nextId++ }))
    yield* change({ added: yield* write(fresh) })
    rows = [...rows, ...fresh]
  })

  const copyDeletes = Effect.fnUntraced(function* (query: string, ids: string) {
    const target = join(duck.folder, `${name}-d${++count}.parquet`)
    yield* duck.rows(`copy (${query}) to '${target}' (format parquet, field_ids ${ids})`)
    const filePath = `${location}/data/d${count}.parquet`
    yield* store.putFile(store.keyOf(filePath), target)
    return filePath
  })

  /** Ids of live rows with their file and place. */
  const places = Effect.gen(function* () {
    const plan = yield* planner.plan(yield* Ref.get(pointer))
    const local = new Map<string, string>()
    for (const each of plan.locations) local.set(each, yield* Effect.scoped(planner.localPath(each)))
    const found = yield* duck.rows(`select id, rat_file, rat_pos from (${plan.positions((each) => local.get(each)!)})`)
    return found.map((row) => ({
      id: Number(row.id),
      file: plan.files[Number(row.rat_file)]!,
      pos: Number(row.rat_pos),
    }))
  })

  /** Deletes rows by position: v2 with one list for each partition, v3 with vectors that hold the older positions too. */
  const deletePositions = Effect.fnUntraced(function* (ids: ReadonlySet<number>) {
    const gone = (yield* places).filter(({ id }) => ids.has(id))
    if (gone.length === 0) return
    const { metadata } = yield* current
    if (metadata.formatVersion === 3) yield* deleteByVectors(gone)
    else {
      const groups = Map.groupBy(gone, ({ file }) => `${file.specId} ${file.partition.join()}`)
      const added = yield* Effect.forEach(groups.values(), (group) =>
        Effect.gen(function* () {
          const lines = group.map(({ file, pos }) => `('${file.filePath}', ${pos}::bigint)`).join(", ")
          const filePath = yield* copyDeletes(
            `select * from (values ${lines}) t(file_path, pos) order by all`,
            "{file_path: 2147483546, pos: 2147483545}",
          )
          const [first] = group
          return {
            ...bare,
            content: "position-deletes",
            format: "parquet",
            filePath,
            specId: first!.file.specId,
            partition: first!.file.partition,
            recordCount: group.length,
            fileSizeBytes: 1000,
          } satisfies DeleteFile as DeleteFile
        }),
      )
      yield* change({ operation: "delete", addedDeletes: added })
    }
    rows = rows.filter(({ id }) => !ids.has(id))
  })

  const deleteByVectors = Effect.fnUntraced(function* (gone: Effect.Success<typeof places>) {
    const { metadata } = yield* current
    const live = yield* iceberg.files(metadata)
    const all = new Map((yield* places).map(({ file, id, pos }) => [id, { file, pos }]))
    const added: Array<DeleteFile> = []
    const removed = new Set<string>()
    for (const [, group] of Map.groupBy(gone, ({ file }) => file.filePath)) {
      const { file } = group[0]!
      const dead = new Set(group.map(({ pos }) => pos))
      const old = live.deletes.filter((each) => each.format === "puffin" && each.referencedDataFile === file.filePath)
      for (const each of old) removed.add(fileKey(each))
      // Positions that are dead already are those that no live row has; equality deletes may have killed some of them.
      const alive = new Set([...all.values()].filter((place) => place.file === file).map(({ pos }) => pos))
      if (old.length > 0) for (let pos = 0; pos < file.recordCount; pos++) if (!alive.has(pos)) dead.add(pos)
      const positions = Float64Array.from([...dead].sort((a, b) => a - b))
      const blob = { bytes: encodeDeletionVector(positions), referencedDataFile: file.filePath, cardinality: dead.size }
      const puffin = encodePuffin([blob])
      const filePath = `${location}/data/v${++count}.puffin`
      yield* Effect.orDie(store.put(store.keyOf(filePath), puffin.bytes))
      added.push({
        ...bare,
        content: "position-deletes",
        format: "puffin",
        filePath,
        specId: file.specId,
        partition: file.partition,
        recordCount: dead.size,
        fileSizeBytes: puffin.bytes.length,
        referencedDataFile: file.filePath,
        ...puffin.places[0]!,
      })
    }
    yield* change({ operation: "delete", addedDeletes: added, removedDeletes: removed })
  })

  /** Deletes by value of `k`, as streaming writers do: in one partition, or (unpartitioned) everywhere. */
  const deleteEquality = Effect.fnUntraced(function* (k: string | null, p: number) {
    const { metadata } = yield* current
    const isPartitioned =
      metadata.partitionSpecs.find((spec) => spec.specId === metadata.defaultSpecId)!.fields.length > 0
    const filePath = yield* copyDeletes(`select ${k === null ? "null" : `'${k}'`}::varchar as k`, "{k: 2}")
    yield* change({
      operation: "delete",
      addedDeletes: [
        {
          ...bare,
          content: "equality-deletes",
          format: "parquet",
          filePath,
          specId: metadata.defaultSpecId,
          partition: isPartitioned ? [BigInt(p)] : [],
          recordCount: 1,
          fileSizeBytes: 1000,
          equalityIds: [2],
        },
      ],
    })
    return isPartitioned
  })

  /** Forgets rows that the last equality delete concerned: which ones depends on the files' specs. */
  const forget = (test: (row: Row) => boolean) => {
    rows = rows.filter((row) => !test(row))
  }

  const read = Effect.gen(function* () {
    const plan = yield* planner.plan(yield* Ref.get(pointer))
    const local = new Map<string, string>()
    for (const each of plan.locations) local.set(each, yield* Effect.scoped(planner.localPath(each)))
    const found = yield* duck.rows(`select * from (${plan.relation((each) => local.get(each)!)}) order by id`)
    return found.map((row) => ({ id: Number(row.id), k: row.k as string | null, p: Number(row.p) }))
  })

  /** v3: `_row_id` of each row, by its id. */
  const rowIds = Effect.gen(function* () {
    const plan = yield* planner.plan(yield* Ref.get(pointer))
    const local = new Map<string, string>()
    for (const each of plan.locations) local.set(each, yield* Effect.scoped(planner.localPath(each)))
    const found = yield* duck.rows(
      `select id, _row_id, _last_updated_sequence_number as s from (${plan.positions((each) => local.get(each)!, { lineage: true })}) order by id`,
    )
    return found.map((row) => [row.id, row._row_id, row.s].join())
  })

  return {
    name,
    location,
    head,
    current,
    change,
    append,
    deletePositions,
    deleteEquality,
    forget,
    partition: (transform: string | null) =>
      change(null, transform === null ? unpartitioned : partitionedBy(transform)),
    read,
    rowIds,
    expected: () => rows.toSorted((left, right) => left.id - right.id),
    rows: () => rows,
  }
})

export type TestTable = Effect.Success<ReturnType<typeof makeTestTable>>

const partitionedBy = (transform: string): ReadonlyArray<MetadataUpdate> => [
  {
    action: "add-spec",
    spec: {
      specId: -1,
      fields: [{ sourceId: 3, fieldId: 1000, name: transform === "identity" ? "p" : "p_t", transform }],
    },
  },
  { action: "set-default-spec", specId: -1 },
]
const unpartitioned: ReadonlyArray<MetadataUpdate> = [
  { action: "add-spec", spec: { specId: -1, fields: [] } },
  { action: "set-default-spec", specId: -1 },
]
