import { mkdtempSync } from "node:fs"
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, assert, describe, it, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { Effect, Layer } from "effect"
import { Catalog } from "../catalog/Catalog.ts"
import { catalogContract } from "../catalog/CatalogContract.ts"
import { catalogContractFence } from "../catalog/CatalogContractFence.ts"
import { catalogContractModel } from "../catalog/CatalogContractModel.ts"
import { catalogContractRaces } from "../catalog/CatalogContractRaces.ts"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { FileStore } from "../store/FileStore.ts"
import { startLossyProxy } from "./LossyProxy.ts"
import { NessieCatalog } from "./NessieCatalog.ts"
import { nessieMigrations } from "./NessieMigrations.ts"
import { startNessie, stopNessie } from "./TestNessie.ts"

// One server for the whole file: it takes ten seconds to start.
const nessie = await startNessie()

if ("reason" in nessie) {
  console.info(`Nessie: skipped, ${nessie.reason}`)
  describe.skip("The catalog in Nessie", () => it(`skipped: ${nessie.reason}`, () => {}))
} else {
  const folder = mkdtempSync(join(tmpdir(), "rat-nessie-"))
  afterAll(async () => {
    await stopNessie(nessie.found)
    await rm(folder, { recursive: true, force: true })
  })
  const proxy = await startLossyProxy(nessie.found.url)
  afterAll(() => proxy.stop())
  const beside = Layer.mergeAll(
    IcebergTable.layer.pipe(Layer.provide(FileStore.layer({ root: folder }))),
    TestPostgres.layer(nessieMigrations, { maxConnections: 16 }),
  )
  const catalog = NessieCatalog.layer({ url: nessie.found.url }).pipe(Layer.provideMerge(beside))
  const behindProxy = NessieCatalog.layer({ url: proxy.url }).pipe(Layer.provideMerge(beside))
  catalogContract("NessieCatalog", catalog)
  catalogContractFence("NessieCatalog", catalog, { runs: 10 })
  catalogContractRaces(catalog, 2)
  catalogContractModel(catalog, { comparesValues: true, runs: 5 })

  layer(behindProxy, { excludeTestServices: true })("When the answer of every change is lost, NessieCatalog", (it) => {
    const key = (name: string) =>
      new TableKey({ namespace: NamespaceName.make("lossy"), layer: "gold", name: PipelineName.make(name) })
    const next = (metadataLocation: string) => ({ metadataLocation, snapshotId: null, rowCount: 1, sizeBytes: 2 })
    const by = { message: "m", author: "t", runId: null }

    it.effect(
      "finds what it did: branch, commit, merge and deletion happen once",
      () =>
        Effect.gen(function* () {
          const lossy = yield* Catalog
          const table = key("a")
          const branch = RefName.make("lossy-run")
          yield* lossy.createBranch(branch, { from: mainRef, runId: "lossy" })
          yield* lossy.commit(branch, { ...by, changes: [{ key: table, expected: null, next: next("lossy@1") }] })
          const merged = yield* lossy.merge(branch, by)
          assert.deepStrictEqual(merged?.tables, ["lossy.gold.a"])
          assert.strictEqual((yield* lossy.history(mainRef, { limit: 10, table })).length, 1)
          assert.strictEqual((yield* Effect.flip(lossy.ref(branch)))._tag, "RefNotFound")
          assert.strictEqual((yield* lossy.table(mainRef, table))?.metadataLocation, "lossy@1")
          assert.isAtLeast(proxy.lost.filter((change) => change.endsWith(" 200")).length, 4, proxy.lost.join())
        }),
      60_000,
    )
  })
}
