import { Api, ProjectInvalid } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { wired } from "../http/ErrorEnvelope.ts"
import { readPush } from "./ProjectPush.ts"
import { ProjectRepository } from "./ProjectRepository.ts"
import { ProjectValidation } from "./ProjectValidation.ts"

export const ProjectsHttp = HttpApiBuilder.group(
  Api,
  "projects",
  Effect.fn(function* (handlers) {
    const projects = yield* ProjectRepository
    const validation = yield* ProjectValidation
    return handlers.handle("push", ({ params: { namespace }, payload }) =>
      wired(
        Effect.gen(function* () {
          const push = readPush(namespace, payload.files, payload.landing_zones ?? [])
          if (push instanceof ProjectInvalid) return yield* push
          const issues = yield* validation.issues(namespace, push.files, push.zones)
          if (issues.length > 0) return yield* new ProjectInvalid({ issues })
          const queueing = yield* validation.queueing(push.files)
          const files = push.files.map((file, index) => ({ ...file, queueing: queueing[index] }))
          return yield* projects.push(
            namespace,
            { ...push, files },
            {
              prune: payload.prune ?? false,
              dryRun: payload.dry_run ?? false,
            },
          )
        }),
      ),
    )
  }),
)
