import { Api, Liveness, NotReady, Readiness } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { BuildInfo } from "./BuildInfo.ts"
import { HealthChecks, nodeState } from "./HealthChecks.ts"

export const HealthHttp = HttpApiBuilder.group(
  Api,
  "health",
  Effect.fn(function* (handlers) {
    const build = yield* BuildInfo
    const health = yield* HealthChecks
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
          const { status, checks } = yield* nodeState(health)
          return status === "not_ready"
            ? yield* new NotReady({ status, checks, roles: health.roles })
            : new Readiness({ status, checks, roles: health.roles })
        }),
    })
  }),
)
