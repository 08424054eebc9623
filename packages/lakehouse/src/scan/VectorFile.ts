import * as fs from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, RcMap, Scope } from "effect"
import { parquetWriteBuffer } from "hyparquet-writer"
import { decodeDeletionVector } from "../iceberg/DeletionVector.ts"
import type { BlobPlace } from "../iceberg/Puffin.ts"
import { TableCorrupt } from "../iceberg/TableCorrupt.ts"
import { ObjectStore } from "../store/ObjectStore.ts"

/*
 * DuckDB reads no Puffin files, so the deletion vectors that a plan needs of one are unpacked into a local Parquet file with
 * the columns `vector` (where in the Puffin file it lies) and `pos` (both DOUBLE: exact far beyond any number of rows).
 */

const marker = "#vectors="

/** How long an unpacked file outlives its last user: the next query over the same table finds it. */
const idleTimeToLive = "5 minutes"

/** Location of the unpacked vectors of a Puffin file; only `makeVectorFiles` gives a path for it. */
export const vectorsLocation = (puffin: string, places: ReadonlyArray<BlobPlace>): string =>
  `${puffin}${marker}${places
    .map(({ contentOffset, contentSizeBytes }) => `${contentOffset}+${contentSizeBytes}`)
    .toSorted()
    .join(",")}`

const parseLocation = (location: string) => {
  const at = location.lastIndexOf(marker)
  if (at < 0) return null
  const places = location
    .slice(at + marker.length)
    .split(",")
    .map((place) => place.split("+").map(Number))
    .map(([contentOffset = 0, contentSizeBytes = 0]): BlobPlace => ({ contentOffset, contentSizeBytes }))
  return { puffin: location.slice(0, at), places }
}

/** Unpacks into a private folder below the system's one for temporary files; it goes with the surrounding scope. */
export const makeVectorFiles = Effect.gen(function* () {
  const store = yield* ObjectStore
  const scope = yield* Effect.scope
  const folder = yield* Effect.cached(
    Effect.acquireRelease(
      Effect.promise(() => fs.mkdtemp(join(tmpdir(), "rat-vectors-"))),
      (path) => Effect.promise(() => fs.rm(path, { recursive: true, force: true })),
    ).pipe(Effect.provideService(Scope.Scope, scope)),
  )
  let written = 0

  const unpack = Effect.fnUntraced(function* (location: string) {
    const { places, puffin } = parseLocation(location)!
    const bytes = yield* store.get(store.keyOf(puffin))
    const file = yield* Effect.try({
      try: () => {
        const vectors = places.map(({ contentOffset, contentSizeBytes }) => ({
          contentOffset,
          positions: decodeDeletionVector(bytes.subarray(contentOffset, contentOffset + contentSizeBytes)),
        }))
        const count = vectors.reduce((sum, { positions }) => sum + positions.length, 0)
        const columns = { vector: new Float64Array(count), pos: new Float64Array(count) }
        let at = 0
        for (const { contentOffset, positions } of vectors) {
          columns.vector.fill(contentOffset, at, at + positions.length)
          columns.pos.set(positions, at)
          at += positions.length
        }
        return parquetWriteBuffer({
          codec: "UNCOMPRESSED",
          columnData: [
            { name: "vector", data: columns.vector, type: "DOUBLE", nullable: false },
            { name: "pos", data: columns.pos, type: "DOUBLE", nullable: false, encoding: "PLAIN" },
          ],
        })
      },
      catch: (error) => new TableCorrupt({ location: puffin, reason: (error as Error).message }),
    })
    const path = join(yield* folder, `${written++}.parquet`)
    return yield* Effect.acquireRelease(
      Effect.as(
        Effect.promise(() => fs.writeFile(path, new Uint8Array(file))),
        path,
      ),
      () => Effect.promise(() => fs.rm(path, { force: true })),
    )
  })
  const files = yield* RcMap.make({ lookup: unpack, idleTimeToLive })

  return {
    /** A local file for a location of a plan: of the object store, or unpacked vectors. Valid until the scope closes. */
    localPath: (location: string) =>
      parseLocation(location) === null ? store.localPath(store.keyOf(location)) : RcMap.get(files, location),
  }
})
