import type { RefNotFound } from "@rat/domain"
import { Effect, Layer, Result } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Catalog, type CatalogConflict, type Commit, type Merge } from "../catalog/Catalog.ts"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { isPostgresOutage } from "../postgres/PostgresOutage.ts"
import { asking, NessieConfig } from "./NessieApi.ts"
import { makeNessieClient, type NessieSettings, nessieHttp, unexpected } from "./NessieClient.ts"
import { makeNessieCommits } from "./NessieCommits.ts"
import { makeNessieFence } from "./NessieFence.ts"
import { makeNessieHold } from "./NessieHold.ts"
import { makeNessiePast } from "./NessiePast.ts"
import { makeNessieReads } from "./NessieReads.ts"
import { makeNessieRefs } from "./NessieRefs.ts"
import { makeNessieVersions } from "./NessieVersions.ts"

/** What every Nessie server calls the state before its first commit: the SHA-256 of nothing but a word of its own. */
const usualNoAncestor = "2e1cfa82b035c26cbbbdae632cea070514eb8b773f616aaeaf668e2f0be8f10d"

/**
 * The catalog in a Nessie server (REST API v2) that other programs may use too. A table is the content key
 * [namespace, layer, name]; keys of another shape are not seen. Commits carry id, run and branch in their properties. What Nessie
 * has no place for is in tables of ours (`migrations/0008_nessie.sql`) and can be lost without losing a table.
 *
 * Changes do not join the caller's transaction: they are there at once (`joinsTransactions` is false).
 */
const makeNessieCatalog = Effect.fnUntraced(function* (settings: NessieSettings) {
  const sql = yield* SqlClient.SqlClient
  const tables = yield* IcebergTable
  const ask = asking(yield* makeNessieClient(settings))
  const { noAncestorHash } = yield* ask(NessieConfig, "GET", "/config").pipe(
    Effect.catchTags({
      NessieRefused: (refused) => Effect.fail(unexpected(refused)),
      // A node starts without Nessie and serves what needs no catalog; the circuit is what finds it again.
      SqlError: (error) =>
        isPostgresOutage(error)
          ? Effect.as(Effect.logWarning("Starting without the Nessie server", error), {
              noAncestorHash: usualNoAncestor,
            })
          : Effect.fail(error),
    }),
  )
  const versions = makeNessieVersions(sql, tables)
  const reads = makeNessieReads(ask, versions, noAncestorHash)
  const refs = makeNessieRefs(ask, sql, reads, versions, noAncestorHash)
  const fences = makeNessieFence(sql)
  const commits = makeNessieCommits(ask, reads, refs, versions, fences)
  const { changes, commit, commitHeld, merge, rebase } = commits
  const { holdBranch } = makeNessieHold(refs, commits, fences)

  const past = makeNessiePast(reads, versions)

  const mergeMany = Effect.fn("Catalog.mergeMany")((merges: ReadonlyArray<Merge>) =>
    Effect.forEach(merges, ({ branch, ...options }) =>
      merge(branch, options).pipe(
        Effect.map((merged): Result.Result<Commit | null, RefNotFound | CatalogConflict> => Result.succeed(merged)),
        Effect.catchTags({
          RefNotFound: (missing) => Effect.succeed(Result.fail(missing)),
          CatalogConflict: (conflict) => Effect.succeed(Result.fail(conflict)),
        }),
      ),
    ),
  )

  return Catalog.of({
    joinsTransactions: false,
    createBranch: refs.createBranch,
    holdBranch,
    createTag: refs.createTag,
    deleteRef: refs.deleteRef,
    expireBranch: refs.expireBranch,
    collectExpired: refs.collectExpired,
    ref: refs.ref,
    refs: refs.refs,
    table: reads.table,
    tables: reads.tables,
    history: reads.history,
    commit,
    commitHeld,
    rebase,
    changes,
    at: past.at,
    dropped: past.dropped,
    prune: past.prune,
    merge,
    mergeMany,
  })
})

export const NessieCatalog = {
  /** Fails where the server refuses us at the start. One that gives no answer may come later. */
  layer: (settings: NessieSettings): Layer.Layer<Catalog, SqlError.SqlError, SqlClient.SqlClient | IcebergTable> =>
    Layer.effect(Catalog, makeNessieCatalog(settings)).pipe(Layer.provide(nessieHttp)),
}
