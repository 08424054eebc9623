import { assert } from "@effect/vitest"
import type { RatClient } from "@rat/client"

/** Something that people get wrong in the files of pipeline `silver.kept`, and what they have to be told. */
export interface Mistake {
  readonly name: string
  /** Content by path inside the pipeline's folder; paths that begin with `pipelines/` are others'. */
  readonly files: Readonly<Record<string, string>>
  /** Where, then what, then what to do. */
  readonly says: ReadonlyArray<string | RegExp>
}

/** The pipeline's code when it is right: three rows. */
export const goodSql = "select i as id, 'row ' || i as label from range(3) t(i)"

/** Brings the pipeline to the server: right but for the files of a mistake. */
export const pushKept = (client: RatClient, files: Mistake["files"], zones: ReadonlyArray<string> = []) =>
  client.projects.push("default", {
    files: Object.entries({ "pipeline.sql": goodSql, ...files }).map(([path, content]) => ({
      path: path.startsWith("pipelines/") ? path : `pipelines/silver/kept/${path}`,
      content,
    })),
    landing_zones: zones,
    prune: true,
  })

export const assertSays = (message: string, says: Mistake["says"]) => {
  for (const part of says) {
    if (typeof part === "string") assert.include(message, part)
    else assert.match(message, part)
  }
}
