import { assert, describe, it } from "@effect/vitest"
import type { Snapshot, SnapshotRef, TableMetadata } from "../iceberg/TableMetadata.ts"
import { planExpiry } from "./SnapshotExpiry.ts"

const nowMs = 1_000_000

const snapshot = (id: number, parent: number | null, ageMs: number): Snapshot => ({
  snapshotId: BigInt(id),
  parentSnapshotId: parent === null ? null : BigInt(parent),
  sequenceNumber: BigInt(id),
  timestampMs: nowMs - ageMs,
  manifestList: `file:///t/metadata/${id}.avro`,
  summary: {},
  schemaId: 0,
})

const table = (
  snapshots: ReadonlyArray<Snapshot>,
  refs: Readonly<Record<string, SnapshotRef>>,
  more: Partial<TableMetadata> = {},
): TableMetadata => ({
  formatVersion: 2,
  tableUuid: "u",
  location: "file:///t",
  lastSequenceNumber: 9n,
  lastUpdatedMs: nowMs,
  lastColumnId: 0,
  schemas: [],
  currentSchemaId: 0,
  partitionSpecs: [{ specId: 0, fields: [] }],
  defaultSpecId: 0,
  lastPartitionId: 999,
  properties: {},
  currentSnapshotId: refs.main?.snapshotId ?? null,
  snapshots,
  snapshotLog: [],
  metadataLog: [],
  sortOrders: [],
  defaultSortOrderId: 0,
  refs,
  ...more,
})

const branch = (id: number, more: Partial<SnapshotRef> = {}): SnapshotRef => ({
  snapshotId: BigInt(id),
  type: "branch",
  ...more,
})

/** 1 ← 2 ← 3 ← 4 on main, each 100 ms older than its child; 5 and 6 (its child) branch off 2. */
const chain = [
  snapshot(1, null, 400),
  snapshot(2, 1, 300),
  snapshot(3, 2, 200),
  snapshot(4, 3, 100),
  snapshot(5, 2, 250),
  snapshot(6, 5, 150),
]

const gone = (metadata: TableMetadata, maxAgeMs: number, minSnapshots: number) =>
  planExpiry(metadata, { nowMs, maxAgeMs, minSnapshots }).snapshotIds.map(Number)

describe("SnapshotExpiry", () => {
  it("keeps what is young or among the newest, on main and for whoever left the refs", () => {
    const metadata = table(chain, { main: branch(4) })
    assert.deepStrictEqual(gone(metadata, 1000, 1), [])
    assert.deepStrictEqual(gone(metadata, 250, 1), [1, 2])
    assert.deepStrictEqual(gone(metadata, 0, 3), [1, 5, 6])
    assert.deepStrictEqual(gone(metadata, 0, 1), [1, 2, 3, 5, 6])
  })

  it("keeps what other refs of the table point to, by their own rules", () => {
    const refs = { main: branch(4), work: branch(6, { minSnapshotsToKeep: 2 }), release: branch(1, { type: "tag" }) }
    assert.deepStrictEqual(gone(table(chain, refs), 0, 1), [2, 3])
    const aged = { main: branch(4), work: branch(6, { maxSnapshotAgeMs: 260 }) }
    assert.deepStrictEqual(gone(table(chain, aged), 0, 1), [1, 2, 3])
  })

  it("drops refs that outlived themselves, never main, and then what only they kept", () => {
    const refs = { main: branch(4, { maxRefAgeMs: 1 }), work: branch(6, { maxRefAgeMs: 100 }) }
    const plan = planExpiry(table(chain, refs), { nowMs, maxAgeMs: 0, minSnapshots: 1 })
    assert.deepStrictEqual(plan.refs, ["work"])
    assert.deepStrictEqual(plan.snapshotIds.map(Number), [1, 2, 3, 5, 6])
  })

  it("lets the table's properties say more than the policy, and statistics go with their snapshots", () => {
    const metadata = table(
      chain.slice(0, 4),
      { main: branch(4) },
      {
        properties: { "history.expire.min-snapshots-to-keep": "3" },
        statistics: [
          { "snapshot-id": 1n, "statistics-path": "x" },
          { "snapshot-id": 4, "statistics-path": "y" },
        ],
      },
    )
    const plan = planExpiry(metadata, { nowMs, maxAgeMs: 0, minSnapshots: 1 })
    assert.deepStrictEqual(plan.snapshotIds.map(Number), [1])
    assert.deepStrictEqual(
      plan.updates.map(({ action }) => action),
      ["remove-statistics", "remove-snapshots"],
    )
  })

  it("survives parents that are gone and chains that bite their tail", () => {
    const circle = [snapshot(1, 2, 400), snapshot(2, 1, 300)]
    assert.deepStrictEqual(gone(table(circle, { main: branch(2) }), 0, 5), [])
    assert.deepStrictEqual(gone(table([snapshot(7, 6, 900)], { main: branch(7) }), 0, 1), [])
    assert.deepStrictEqual(gone(table([], {}), 0, 1), [])
  })
})
