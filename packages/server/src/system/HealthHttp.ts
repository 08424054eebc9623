import { Api, Liveness, NotReady, Readiness } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { BuildInfo } from "./BuildInfo.ts"
import { HealthChecks, runChecks } from "./HealthChecks.ts"

export const HealthHttp = HttpApiBuilder.group(
  Api,
  "health",
  Effect.fn(function* (handlers) {
    const build = yield* BuildInfo
    const checks = yield* HealthChecks
    const alive = Effect.succeed(
      new Liveness({
        status: "ok",
        version: build.version,
        git_commit: build.gitCommit,
        build_time: build.buildTime,
        node_version: process.versions.node,
      }),
    )
    return handlers.handleAll({
      health: () => alive,
      live: () => alive,
      ready: () =>
        Effect.gen(function* () {
          const results = yield* runChecks(checks)
          return Object.values(results).every((result) => result.status === "ok")
            ? new Readiness({ status: "ready", checks: results })
            : yield* new NotReady({ status: "not_ready", checks: results })
        }),
    })
  }),
)
