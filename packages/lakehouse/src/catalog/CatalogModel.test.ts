import { Layer } from "effect"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { catalogContractModel } from "./CatalogContractModel.ts"
import { catalogMigrations } from "./CatalogMigrations.ts"
import { PostgresCatalog } from "./PostgresCatalog.ts"

catalogContractModel(PostgresCatalog.layer.pipe(Layer.provideMerge(TestPostgres.layer(catalogMigrations))), {
  comparesValues: false,
  runs: 60,
})
