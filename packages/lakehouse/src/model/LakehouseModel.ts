import { assert } from "@effect/vitest"
import { mainRef, RefName, TableKey } from "@rat/domain"
import { DateTime, Effect, Exit, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { Catalog, type Commit } from "../catalog/Catalog.ts"
import { Rebase } from "../catalog/Rebase.ts"
import { IcebergTable, type TableCommit } from "../iceberg/IcebergTable.ts"
import { compact } from "../maintenance/Compaction.ts"
import { expireSnapshots } from "../maintenance/Expiry.ts"
import { rewriteManifests } from "../maintenance/ManifestRewrite.ts"
import { sweepOrphans } from "../maintenance/OrphanSweep.ts"
import { reachableFrom } from "../maintenance/Reachability.ts"
import { catalogHead } from "../maintenance/TableHead.ts"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { Engine } from "../write/Engine.ts"
import { prepareMerge } from "../write/TestMerge.ts"
import { evolveInModel } from "./ModelEvolution.ts"
import { checkContent, checkPruning, checkTotals, lineageOf } from "./ModelReader.ts"
import { mergeInModel } from "./ModelStrategy.ts"
import { type Content, type ModelColumn, type ModelVersion, minus, type Row } from "./ModelTable.ts"
import {
  branchInModel,
  changedTables,
  type ModelWorld,
  movedTables,
  moveInModel,
  partingOf,
  tablesOf,
} from "./ModelWorld.ts"
import { type Dice, pick, queryOf, randomRun, toldRun } from "./RandomRun.ts"

const tableNames = ["t0", "t1"]
const maxRefs = 6
const rememberedCommits = 12

/** Names of the actions, as often as they are to be done. */
const actions = [
  ...Array<"run">(30).fill("run"),
  ...Array<"branch">(4).fill("branch"),
  ...Array<"merge">(6).fill("merge"),
  ...Array<"compact">(4).fill("compact"),
  ...Array<"manifests">(3).fill("manifests"),
  ...Array<"expire">(3).fill("expire"),
  ...Array<"rollback">(3).fill("rollback"),
  ...Array<"look">(4).fill("look"),
  "tag",
  "delete",
  "delete",
  "drop",
  "undrop",
  "lapse",
  "sweep",
  "lookEverywhere",
] as const

/**
 * A lakehouse and a model of it, side by side: `step` does one random thing to both and compares what it touched. `name` is the
 * namespace.
 */
export const makeLakehouseModel = Effect.fnUntraced(function* (name: string, dice: Dice) {
  const catalog = yield* Catalog
  const sql = yield* SqlClient.SqlClient
  const rebase = yield* Rebase
  const tables = yield* IcebergTable
  const engine = yield* Engine
  const keyOf = (table: string) => new TableKey({ namespace: name, layer: "silver", name: table } as never)
  const refNameOf = (ref: string) => (ref === "main" ? mainRef : RefName.make(`${name}-${ref}`))
  const world: ModelWorld = {
    main: new Map(),
    moves: new Map(),
    refs: new Map(),
    commits: new Map(),
    dropped: new Map(),
    keys: tableNames.map(keyOf),
  }
  let identities = 0
  let count = 0
  let now = 1_700_000_000_000
  const log: Array<string> = []
  const tell = (text: string) => void log.push(text)

  const branches = () => [...world.refs].filter(([, ref]) => ref.kind === "branch").map(([ref]) => ref)
  const someRef = () => (branches().length > 0 && dice(2) === 0 ? pick(dice, branches()) : "main")
  /** A table on a ref that can be written; null when there is none. */
  const someTable = () => {
    const ref = someRef()
    const there = [...tablesOf(world, ref).keys()]
    return there.length === 0 ? null : { ref, table: pick(dice, there) }
  }

  const remember = (commit: Commit) => {
    if (commit.ref !== "main") return
    world.commits.set(commit.id.toString(), new Map(world.main))
    if (world.commits.size > rememberedCommits) world.commits.delete(world.commits.keys().next().value!)
  }

  const pointerTo = (made: TableCommit) => ({
    metadataLocation: made.metadataLocation,
    snapshotId: made.snapshotId?.toString() ?? null,
    rowCount: made.totalRecords,
    sizeBytes: made.totalSizeBytes,
  })

  const commit = Effect.fnUntraced(function* (
    ref: string,
    table: string,
    expected: string | null,
    made: TableCommit | null,
  ) {
    const wanted = {
      message: "model",
      author: "model",
      runId: `run-${name}-${++count}`,
      changes: [{ key: keyOf(table), expected, next: made === null ? null : pointerTo(made) }],
    }
    const done = yield* catalog.commit(refNameOf(ref), wanted)
    // Somebody who did not hear the answer says it again.
    if (dice(10) === 0) assert.strictEqual((yield* catalog.commit(refNameOf(ref), wanted)).id, done.id)
    return done
  })

  /** Snapshots that a step made: all of them hold `content`. */
  const withSnapshots = Effect.fnUntraced(function* (
    metadataLocation: string,
    known: ModelVersion["snapshots"],
    content: Content,
  ) {
    const metadata = yield* tables.load(metadataLocation)
    const made = metadata.snapshots.filter(({ snapshotId }) => !known.has(snapshotId))
    return new Map([
      ...known,
      ...made.map(({ snapshotId }) => [snapshotId, { columns: content.columns, rows: content.rows }] as const),
    ])
  })

  /** The touched table is what the model says, through the catalog. */
  const check = Effect.fnUntraced(function* (ref: string, table: string) {
    const version = tablesOf(world, ref).get(table)
    const pointer = yield* catalog.table(refNameOf(ref), keyOf(table))
    assert.strictEqual(pointer?.metadataLocation, version?.metadataLocation)
    if (version === undefined || pointer === null) return
    yield* checkContent(version.metadataLocation, version)
    assert.strictEqual(pointer.rowCount, version.rows.length, "rows that the catalog counts")
    yield* checkTotals(version)
    if (dice(3) === 0) yield* checkPruning(dice, version)
  })

  const checkSnapshots = Effect.fnUntraced(function* (version: ModelVersion, most: number) {
    const metadata = yield* tables.load(version.metadataLocation)
    const some = metadata.snapshots.toSorted(() => dice(3) - 1).slice(0, most)
    for (const { snapshotId } of some) {
      const content = version.snapshots.get(snapshotId)
      assert.isDefined(content, `snapshot ${snapshotId} is known`)
      yield* checkContent(version.metadataLocation, content!, snapshotId).pipe(
        Effect.mapError((error) => new Error(`snapshot ${snapshotId} of ${version.metadataLocation}: ${error}`)),
      )
    }
  })

  const partitioning = (columns: ReadonlyArray<ModelColumn>) => {
    const transforms: Record<ModelColumn["kind"], ReadonlyArray<string>> = {
      int: ["identity", "bucket[3]", "truncate[3]", "void"],
      text: ["identity", "bucket[2]", "truncate[1]", "void"],
      float: ["identity"],
      decimal: ["identity", "bucket[2]", "truncate[5]"],
      date: ["identity", "year", "month", "day", "bucket[2]"],
      bool: ["identity"],
      moment: ["day"],
    }
    const chosen = columns.toSorted(() => dice(3) - 1).slice(0, dice(3))
    return chosen.map((column) => ({ column, transform: pick(dice, transforms[column.kind]) }))
  }

  const run = Effect.gen(function* () {
    const ref = someRef()
    const table = pick(dice, tableNames)
    const base = tablesOf(world, ref).get(table) ?? null
    const wish = randomRun(dice, base)
    const { strategy } = wish
    const added = strategy === "scd2" ? ["valid_from", "valid_to"] : strategy === "soft_delete" ? ["_deleted_at"] : []
    const evolved = evolveInModel(base, { ...wish, replaces: strategy === "full_refresh", added }, () => ++identities)
    const columns = evolved?.columns ?? base?.columns ?? []
    const facts = columns.filter(({ name }) => !added.includes(name))
    const key = facts.length === 0 ? [] : facts.toSorted(() => dice(3) - 1).slice(0, 1 + dice(2))
    const partitionColumn = key[0] ?? null
    const partition = dice(8) === 0 || (base === null && dice(2) === 0) ? partitioning(columns) : null
    const sort = dice(10) === 0 ? columns.toSorted(() => dice(3) - 1).slice(0, dice(3)) : null
    now += 1000
    tell(`${ref}.${table}: ${toldRun(wish, base)}`)
    tell(
      `  by ${key.map(({ name }) => name)}${partition === null ? "" : `, partitioned by ${partition.map(({ column, transform }) => `${transform}(${column.name})`)}`}${sort === null ? "" : `, sorted by ${sort.map(({ name }) => name)}`}${evolved === null ? ": to be refused" : ""}`,
    )
    const version =
      base === null
        ? null
        : { metadataLocation: base.metadataLocation, metadata: yield* tables.load(base.metadataLocation) }
    const prepared = yield* Effect.exit(
      prepareMerge({
        name: table,
        query: queryOf(wish),
        base: version,
        strategy,
        settings: {
          uniqueKey: ["full_refresh", "snapshot"].includes(strategy) ? [] : key.map(({ name }) => name),
          partitionColumn: strategy === "snapshot" ? (partitionColumn?.name ?? null) : null,
          dedup: wish.dedup && strategy === "append_only",
          scdCloseMissing: wish.closesMissing,
        },
        evolution: {
          onChange: wish.onChange,
          allowDestructive: wish.allowDestructive,
          renames: wish.rename === null ? {} : { [wish.rename.from]: wish.rename.to },
          defaults: Object.fromEntries([...wish.defaults].map(([column, { json }]) => [column, json])),
        },
        ...(partition === null
          ? {}
          : { partitionBy: partition.map(({ column, transform }) => ({ column: column.name, transform })) }),
        ...(sort === null
          ? {}
          : {
              sortBy: sort.map(({ name }) => ({
                column: name,
                direction: pick(dice, ["asc", "desc"] as const),
                nulls: pick(dice, ["first", "last"] as const),
              })),
            }),
        ...(wish.formatVersion === null ? {} : { formatVersion: wish.formatVersion }),
        folds: wish.folds,
        nowMillis: now,
      }),
    )
    if (evolved === null) {
      assert.isTrue(Exit.isFailure(prepared), "the run is refused")
      const failure = String(prepared)
      assert.match(failure, /SchemaMismatch|MergeRefused/)
      return yield* check(ref, table)
    }
    const { location, merged, runId } = yield* prepared
    const source = wish.rows.map(
      (values): Row =>
        new Map(
          columns.map((column) => {
            const at = wish.result.findIndex(({ name }) => name === column.name)
            if (column.name === "valid_from" && added.includes(column.name)) return [column.identity, String(now)]
            return [column.identity, at === -1 ? (wish.defaults.get(column.name)?.value ?? null) : values[at]!]
          }),
        ),
    )
    const merge = { ...wish, key, partitionColumn, columns, now }
    const rows = mergeInModel(merge, base?.rows ?? [], source)
    if (base !== null && merged.snapshot === null && merged.updates.length === 0) return yield* check(ref, table)
    const change = {
      base: version,
      location: version?.metadata.location ?? location,
      runId,
      updates: merged.updates,
      snapshot: merged.snapshot,
    }
    const made = yield* tables.commit(change)
    if (dice(10) === 0) assert.strictEqual((yield* tables.commit(change)).metadataLocation, made.metadataLocation)
    const done = yield* commit(ref, table, base?.metadataLocation ?? null, made)
    const { fields } = made.metadata.schemas.find(({ schemaId }) => schemaId === made.metadata.currentSchemaId)!
    const placed = columns.map((column): ModelColumn => {
      const { id } = fields.find((field) => field.name === column.name)!
      if (column.fieldId !== 0) return column
      assert.isAbove(id, version?.metadata.lastColumnId ?? 0, `the id of column ${column.name} was used before`)
      return { ...column, fieldId: id }
    })
    const isAppend = strategy === "append_only" && !merge.dedup && !wish.folds && merged.updates.length === 0
    const content = { columns: placed, rows }
    moveInModel(world, ref, table, {
      ...content,
      metadataLocation: made.metadataLocation,
      formatVersion: evolved.formatVersion,
      partition: (partition ?? base?.partition ?? []).map((field) =>
        "identity" in field ? field : { identity: field.column.identity, transform: field.transform },
      ),
      sort: sort === null ? (base?.sort ?? []) : sort.map(({ identity }) => identity),
      snapshots: yield* withSnapshots(made.metadataLocation, base?.snapshots ?? new Map(), content),
      parent: base,
      change: isAppend ? "append" : "other",
    })
    remember(done)
    yield* check(ref, table)
  })

  /** Something that leaves the rows as they are. */
  const maintain = Effect.fnUntraced(function* (
    what: "compact" | "manifests" | "expire",
    at: { readonly ref: string; readonly table: string },
  ) {
    const { ref, table } = at
    const before = tablesOf(world, ref).get(table)!
    const lineage = yield* lineageOf(before)
    const id = `${what}-${name}-${++count}`
    const head = catalogHead(catalog, refNameOf(ref), keyOf(table), id)
    const minSnapshots = 1 + dice(4)
    tell(`${ref}.${table}: ${what} ${what === "expire" ? minSnapshots : ""}`)
    if (what === "compact") {
      const settings = {
        targetFileBytes: pick(dice, [2_000, 1_000_000]),
        minInputFiles: 2,
        deleteFileThreshold: 1 + dice(2),
        deleteRatio: pick(dice, [0, 0.3]),
        sort: dice(2) === 0,
        maxGroupBytes: pick(dice, [5_000, 1_000_000_000]),
      }
      const { skipped } = yield* compact({ head, id, settings, engine: Effect.succeed(engine) })
      assert.strictEqual(skipped, 0)
    } else if (what === "manifests") yield* rewriteManifests({ head, id, minManifests: 2 })
    else yield* expireSnapshots({ head, id, settings: { maxAgeMs: -1_000_000, minSnapshots } })
    const metadataLocation = (yield* head.current)!
    if (metadataLocation === before.metadataLocation) return yield* check(ref, table)
    const after: ModelVersion = {
      ...before,
      metadataLocation,
      snapshots: yield* withSnapshots(metadataLocation, before.snapshots, before),
      parent: before,
      change: what === "expire" ? "other" : "replace",
    }
    moveInModel(world, ref, table, after)
    if (what === "expire") {
      const [old, left] = [yield* tables.load(before.metadataLocation), yield* tables.load(metadataLocation)]
      const ids = new Set(left.snapshots.map(({ snapshotId }) => snapshotId))
      let at = old.snapshots.find(({ snapshotId }) => snapshotId === old.currentSnapshotId)
      for (let kept = 0; kept < minSnapshots && at !== undefined; kept++) {
        assert.isTrue(ids.has(at.snapshotId), "young enough snapshots stay")
        const parent: bigint | null = at.parentSnapshotId
        at = old.snapshots.find(({ snapshotId }) => snapshotId === parent)
      }
      yield* checkSnapshots(after, 2)
    } else if (lineage !== null) {
      assert.deepStrictEqual(yield* lineageOf(after), lineage, "rows keep their ids")
    }
    yield* check(ref, table)
  })

  const rollback = Effect.fnUntraced(function* (at: { readonly ref: string; readonly table: string }) {
    const { ref, table } = at
    const before = tablesOf(world, ref).get(table)!
    const metadata = yield* tables.load(before.metadataLocation)
    if (metadata.snapshots.length === 0) return
    const { snapshotId } = pick(dice, metadata.snapshots)
    if (snapshotId === metadata.currentSnapshotId) return
    tell(`${ref}.${table}: back to ${snapshotId}`)
    const made = yield* tables.commit({
      base: { metadataLocation: before.metadataLocation, metadata },
      location: metadata.location,
      runId: `rollback-${++count}`,
      updates: [{ action: "set-snapshot-ref", refName: "main", snapshotId, type: "branch" }],
      snapshot: null,
    })
    const done = yield* commit(ref, table, before.metadataLocation, made)
    moveInModel(world, ref, table, {
      ...before,
      rows: before.snapshots.get(snapshotId)!.rows,
      metadataLocation: made.metadataLocation,
      parent: before,
      change: "other",
    })
    remember(done)
    yield* check(ref, table)
  })

  const createRef = Effect.fnUntraced(function* (kind: "branch" | "tag") {
    if (world.refs.size >= maxRefs) return
    const from = dice(4) === 0 && world.refs.size > 0 ? pick(dice, [...world.refs.keys()]) : "main"
    const ref = `${kind}${++count}`
    tell(`${kind} ${ref} of ${from}`)
    if (kind === "branch") yield* catalog.createBranch(refNameOf(ref), { from: refNameOf(from) })
    else yield* catalog.createTag(refNameOf(ref), { from: refNameOf(from) })
    world.refs.set(ref, branchInModel(world, from, kind))
    for (const table of tableNames) yield* check(ref, table)
  })

  /** A branch's table that was put upon main's: all that the branch did to it, and all that main did. */
  const afterRebase = Effect.fnUntraced(function* (branch: string, table: string) {
    const ref = world.refs.get(branch)!
    const ours = ref.tables.get(table)
    const theirs = world.main.get(table)
    assert.isTrue(ours !== undefined && theirs !== undefined, "a table that is gone on one side is not merged")
    const parting = partingOf(ours!, theirs!)
    assert.isNotNull(parting, "tables that were made apart are not merged")
    const { base } = parting!
    const own = minus(base.columns, ours!.rows, base.rows)
    assert.isNotNull(own, "what the branch changed besides new rows is lost")
    assert.isNotNull(minus(base.columns, theirs!.rows, base.rows), "what main changed besides new rows is lost")
    const pointer = yield* catalog.table(refNameOf(branch), keyOf(table))
    assert.isNotNull(pointer)
    const metadata = yield* tables.load(pointer!.metadataLocation)
    const { fields } = metadata.schemas.find(({ schemaId }) => schemaId === metadata.currentSchemaId)!
    const textOf = (columns: ModelVersion["columns"]) => JSON.stringify(columns)
    const hasOwn = textOf(ours!.columns) !== textOf(base.columns)
    assert.isFalse(hasOwn && textOf(theirs!.columns) !== textOf(base.columns), "columns changed on one side only")
    const { columns } = hasOwn ? ours! : theirs!
    assert.deepStrictEqual(
      fields.map(({ id, name }) => `${id} ${name}`),
      columns.map(({ fieldId, name }) => `${fieldId} ${name}`),
    )
    const snapshots = new Map(theirs!.snapshots)
    // The branch's snapshots now lie upon main's.
    for (const version of parting!.ours.toReversed()) {
      for (const { snapshotId } of metadata.snapshots) {
        if (snapshots.has(snapshotId) || !version.snapshots.has(snapshotId)) continue
        const rows = minus(base.columns, version.snapshots.get(snapshotId)!.rows, base.rows)
        assert.isNotNull(rows, "the branch's snapshots only added rows")
        snapshots.set(snapshotId, { columns, rows: [...theirs!.rows, ...rows!] })
      }
    }
    const rebased: ModelVersion = {
      ...theirs!,
      columns,
      rows: [...theirs!.rows, ...own!],
      metadataLocation: pointer!.metadataLocation,
      snapshots,
      parent: theirs!,
      change: parting!.ours.every(({ change }) => change === "append") ? "append" : "other",
    }
    ref.tables.set(table, rebased)
    ref.onto.set(table, theirs!)
    yield* check(branch, table)
    yield* checkSnapshots(rebased, 3)
  })

  const merge = Effect.gen(function* () {
    if (branches().length === 0) return
    const branch = pick(dice, branches())
    const ref = world.refs.get(branch)!
    const refName = refNameOf(branch)
    const once = catalog.merge(refName, { message: "merge", author: "model", runId: null }).pipe(
      Effect.map((done) => ({ done })),
      Effect.catchTag("CatalogConflict", ({ tables: conflicts }) => Effect.succeed({ conflicts })),
    )
    let outcome = yield* once
    const moved = movedTables(world, ref)
    const expected = moved.map((table) => keyOf(table).toString())
    tell(`merge ${branch} (moved: ${expected})`)
    if ("conflicts" in outcome) {
      assert.deepStrictEqual(outcome.conflicts.toSorted(), expected.toSorted())
      const reasons = yield* rebase.branch(refName, moved.map(keyOf))
      tell(`  ${JSON.stringify(reasons.map(({ reason, table }) => `${table}: ${reason}`))}`)
      const refused = new Set(reasons.map(({ table }) => table.name as string))
      for (const table of moved) {
        if (!refused.has(table)) {
          yield* afterRebase(branch, table)
          continue
        }
        const [ours, theirs] = [ref.tables.get(table), world.main.get(table)]
        const parting = ours === undefined || theirs === undefined ? null : partingOf(ours, theirs)
        if (parting === null || parting.ours.length === 0) continue
        const isEasy =
          parting.ours.every(({ change }) => change === "append") &&
          parting.theirs.every(({ change }) => change !== "other")
        assert.isFalse(isEasy, "appends of both sides are no conflict")
      }
      if (reasons.length > 0) return yield* Effect.forEach(tableNames, (table) => check("main", table))
      outcome = yield* once
    } else assert.deepStrictEqual(expected, [])
    assert.isTrue("done" in outcome, "the merge is done once the branch lies upon main")
    world.refs.delete(branch)
    const changed = changedTables(world, ref)
    for (const table of changed) moveInModel(world, "main", table, ref.tables.get(table))
    const done = "done" in outcome ? outcome.done : null
    assert.strictEqual(done === null, changed.length === 0)
    if (done !== null) remember(done)
    for (const table of tableNames) yield* check("main", table)
  })

  const deleteRef = Effect.gen(function* () {
    if (world.refs.size === 0) return
    const ref = pick(dice, [...world.refs.keys()])
    tell(`delete ${ref}`)
    yield* catalog.deleteRef(refNameOf(ref))
    world.refs.delete(ref)
    assert.isTrue(Exit.isFailure(yield* Effect.exit(catalog.tables(refNameOf(ref)))))
  })

  /** A branch whose time has come goes. */
  const lapse = Effect.gen(function* () {
    if (branches().length === 0) return
    const ref = pick(dice, branches())
    tell(`${ref} lapses`)
    yield* catalog.expireBranch(refNameOf(ref), DateTime.makeUnsafe(0))
    assert.include(yield* catalog.collectExpired(1000), refNameOf(ref))
    world.refs.delete(ref)
  })

  const drop = Effect.fnUntraced(function* (at: { readonly ref: string; readonly table: string }) {
    const { ref, table } = at
    // What a branch made itself and dropped again, main never hears of.
    if (ref !== "main" && world.refs.get(ref)!.departures.get(table)!.version === undefined) return
    tell(`${ref}.${table}: drop`)
    const done = yield* commit(ref, table, tablesOf(world, ref).get(table)!.metadataLocation, null)
    moveInModel(world, ref, table, undefined)
    remember(done)
    yield* check(ref, table)
  })

  const undrop = Effect.gen(function* () {
    if (world.dropped.size === 0) return
    const [table, version] = pick(dice, [...world.dropped])
    tell(`main.${table}: undrop`)
    const found = (yield* catalog.dropped({ namespace: name })).find(({ pointer }) => pointer.key.name === table)
    assert.strictEqual(found?.pointer.metadataLocation, version.metadataLocation)
    const { metadataLocation, rowCount, sizeBytes, snapshotId } = found!.pointer
    const done = yield* catalog.commit(mainRef, {
      message: "undrop",
      author: "model",
      runId: null,
      changes: [{ key: keyOf(table), expected: null, next: { metadataLocation, rowCount, sizeBytes, snapshotId } }],
    })
    moveInModel(world, "main", table, version)
    remember(done)
    yield* check("main", table)
  })

  const look = Effect.gen(function* () {
    const ref = pick(dice, ["main", ...world.refs.keys()])
    const there = [...tablesOf(world, ref)]
    if (there.length === 0) return
    const [table, version] = pick(dice, there)
    yield* check(ref, table)
    yield* checkSnapshots(version, 3)
    if (world.commits.size === 0) return
    const [id, then] = pick(dice, [...world.commits])
    const found = yield* catalog.at(BigInt(id) as never, { namespace: name })
    assert.deepStrictEqual(
      found.map(({ key, metadataLocation }) => [key.name as string, metadataLocation]).sort(),
      [...then].map(([table, { metadataLocation }]) => [table, metadataLocation]).sort(),
    )
    for (const old of then.values()) yield* checkContent(old.metadataLocation, old)
  })

  /** Every ref and every snapshot, by readers that remember nothing. */
  const lookEverywhere = Effect.gen(function* () {
    tell("look everywhere")
    const seen = new Set<string>()
    for (const ref of ["main", ...world.refs.keys()]) {
      for (const [table, version] of tablesOf(world, ref)) {
        yield* check(ref, table)
        if (seen.has(version.metadataLocation)) continue
        seen.add(version.metadataLocation)
        yield* checkSnapshots(version, 1000)
      }
    }
    for (const then of world.commits.values()) {
      for (const old of then.values()) {
        if (seen.has(old.metadataLocation)) continue
        seen.add(old.metadataLocation)
        yield* checkContent(old.metadataLocation, old)
      }
    }
    for (const old of world.dropped.values()) yield* checkContent(old.metadataLocation, old)
  }).pipe(Effect.provide(Layer.fresh(ScanPlanner.layer.pipe(Layer.provideMerge(IcebergTable.layer)))))

  /** Retention forgets, and what nothing needs any more goes; everything else is still there. */
  const sweep = Effect.gen(function* () {
    const forgets = dice(3) > 0
    tell(`sweep ${forgets ? "after retention" : ""}`)
    if (forgets) {
      // So that what only old versions needed is not needed by others as well.
      for (const ref of ["main", ...branches()]) {
        for (const table of tablesOf(world, ref).keys()) {
          yield* maintain("manifests", { ref, table })
          yield* maintain("expire", { ref, table })
        }
      }
      const before = yield* DateTime.now
      // Two passes, each of which may begin where an earlier one stopped.
      for (let pass = 0; pass < 2; pass++) while ((yield* catalog.prune(before, 1000)) > 0);
      world.commits.clear()
      world.dropped.clear()
    }
    const roots = Stream.fromIterableEffect(
      Effect.map(
        sql<{ readonly location: string }>`select location from catalog_reachable('', 1000000) as location`,
        (rows) => rows.map(({ location }) => location),
      ),
    )
    const known = new Set<string>()
    for (let round = 0; round < 2; round++) {
      const reachable = yield* reachableFrom({ tables: roots })
      assert.deepStrictEqual(reachable.unreadable, [])
      const look = (objects: ReadonlyArray<{ readonly key: string }>) =>
        Effect.sync(() => new Set(objects.flatMap(({ key }) => (known.has(key) ? [key] : []))))
      const report = yield* sweepOrphans({
        reachable,
        ledger: {
          look,
          note: (objects) =>
            Effect.map(look(objects), (due) => {
              for (const { key } of objects) known.add(key)
              return due
            }),
          forget: () => Effect.void,
          finish: Effect.void,
        },
        needed: () => Effect.succeed(new Set()),
        graceMs: 0,
        dryRun: false,
      })
      if (round === 1) tell(`  ${report.removed.objects} removed, ${report.waiting.objects} waiting`)
    }
    yield* lookEverywhere
  })

  const step = Effect.fnUntraced(function* () {
    const action = pick(dice, actions)
    switch (action) {
      case "run":
        return yield* run
      case "branch":
      case "tag":
        return yield* createRef(action)
      case "merge":
        return yield* merge
      case "delete":
        return yield* deleteRef
      case "lapse":
        return yield* lapse
      case "undrop":
        return yield* undrop
      case "look":
        return yield* look
      case "sweep":
        return yield* sweep
      case "lookEverywhere":
        return yield* lookEverywhere
    }
    const at = someTable()
    if (at === null) return
    if (action === "rollback") yield* rollback(at)
    else if (action === "drop") yield* drop(at)
    else yield* maintain(action, at)
  })

  return { step: Effect.suspend(step), lookEverywhere, log: log as ReadonlyArray<string> }
})
