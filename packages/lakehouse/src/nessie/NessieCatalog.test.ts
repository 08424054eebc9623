import { mkdtempSync } from "node:fs"
import { rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, it } from "@effect/vitest"
import { Layer } from "effect"
import { catalogContract } from "../catalog/CatalogContract.ts"
import { catalogContractModel } from "../catalog/CatalogContractModel.ts"
import { catalogContractRaces } from "../catalog/CatalogContractRaces.ts"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { FileStore } from "../store/FileStore.ts"
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
  const catalog = NessieCatalog.layer({ url: nessie.found.url }).pipe(
    Layer.provide(IcebergTable.layer),
    Layer.provide(FileStore.layer({ root: folder })),
    Layer.provideMerge(TestPostgres.layer(nessieMigrations, { maxConnections: 16 })),
  )
  catalogContract("NessieCatalog", catalog)
  catalogContractRaces(catalog, 2)
  catalogContractModel(catalog, { comparesValues: true, runs: 5 })
}
