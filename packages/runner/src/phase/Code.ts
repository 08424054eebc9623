import { blobKey, type PipelineConfig, type RunTarget } from "@rat/domain"
import { type ObjectNotFound, ObjectStore, type StoreUnavailable } from "@rat/lakehouse"
import { Cache, Context, Duration, Effect, Exit, Layer } from "effect"
import { effectiveConfig } from "../template/EffectiveConfig.ts"
import type { Issue } from "../template/Issue.ts"
import { isQualityTest, type QualityHeader, readQualityHeader } from "../template/QualityHeader.ts"
import { shownPath } from "./ActiveRun.ts"
import { RunFailed } from "./RunFailed.ts"

export interface QualityFile {
  /** Inside the pipeline's folder. */
  readonly path: string
  readonly source: string
  readonly header: QualityHeader
}

/** A pipeline's files, read and understood. */
export interface Code {
  readonly source: string
  readonly config: PipelineConfig
  /** By name. */
  readonly tests: ReadonlyArray<QualityFile>
}

const codePath = "pipeline.sql"
const configPath = "config.yaml"
/** Files and versions of pipelines that a node remembers. */
const capacity = 500

const listed = (target: RunTarget, path: string, issues: ReadonlyArray<Issue>): ReadonlyArray<string> =>
  issues.map(
    ({ line, column, message }) =>
      `${[shownPath(target, path), line, column].filter((part) => part !== undefined).join(":")}: ${message}`,
  )

/** Pipeline code by content hash. What a hash names never changes, so nothing here ever becomes stale. */
export class Codes extends Context.Service<
  Codes,
  {
    /** Fails with every problem of the settings and headers at once. */
    readonly load: (target: RunTarget) => Effect.Effect<Code, RunFailed | ObjectNotFound | StoreUnavailable>
  }
>()("rat/runner/phase/Codes") {
  static readonly layer = Layer.effect(
    Codes,
    Effect.gen(function* () {
      const store = yield* ObjectStore
      const blobs = yield* Cache.makeWith(
        (hash: string) => Effect.map(store.get(blobKey(hash)), (bytes) => new TextDecoder().decode(bytes)),
        // A failure is not remembered: the store may answer the next time.
        { capacity, timeToLive: (exit) => (Exit.isSuccess(exit) ? Duration.infinity : Duration.zero) },
      )
      const configs = new Map<string, ReturnType<typeof effectiveConfig>>()

      const load = Effect.fn("Codes.load")(function* (target: RunTarget) {
        if (target.type === "python") {
          return yield* new RunFailed({
            code: "pipeline.python",
            reason: "Python pipelines are not available yet. Write the pipeline in SQL (pipeline.sql).",
          })
        }
        const hashOf = (path: string) => target.files.find((file) => file.path === path)?.hash
        const codeHash = hashOf(codePath)
        if (codeHash === undefined) {
          return yield* new RunFailed({
            code: "pipeline.no_code",
            reason: `Pipeline ${target.layer}.${target.name} has no ${codePath}. Write ${shownPath(target, codePath)} and push it.`,
          })
        }
        const configHash = hashOf(configPath)
        const testFiles = target.files
          .filter((file) => isQualityTest(file.path))
          .sort((a, b) => (a.path < b.path ? -1 : 1))
        const [source, configYaml, tests] = yield* Effect.all(
          [
            Cache.get(blobs, codeHash),
            configHash === undefined ? Effect.succeed(null) : Cache.get(blobs, configHash),
            Effect.forEach(
              testFiles,
              (file) =>
                Effect.map(
                  Cache.get(blobs, file.hash),
                  (text): QualityFile => ({
                    path: file.path,
                    source: text,
                    header: readQualityHeader(file.path, text),
                  }),
                ),
              { concurrency: 8 },
            ),
          ],
          { concurrency: "unbounded" },
        )
        const id = `${codeHash} ${configHash}`
        const settings = configs.get(id) ?? effectiveConfig(source, configYaml)
        if (configs.size >= capacity) configs.clear()
        configs.set(id, settings)

        const problems = [
          ...listed(target, configPath, settings.configIssues),
          ...listed(target, codePath, settings.codeIssues),
          ...tests.flatMap((test) => listed(target, test.path, test.header.issues)),
        ]
        if (problems.length > 0) {
          return yield* new RunFailed({ code: "config.invalid", reason: problems.join("\n") })
        }
        return { source, config: settings.config, tests }
      })
      return Codes.of({ load })
    }),
  )
}
