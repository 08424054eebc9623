import { Api, pageOf } from "@rat/domain"
import { Effect, FileSystem } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { wired } from "../http/ErrorEnvelope.ts"
import { LandingRepository } from "./LandingRepository.ts"

export const LandingHttp = HttpApiBuilder.group(
  Api,
  "landingZones",
  Effect.fn(function* (handlers) {
    const landing = yield* LandingRepository
    const files = yield* FileSystem.FileSystem
    return handlers.handleAll({
      list: ({ query }) => wired(landing.list({ ...pageOf(query), namespace: query.namespace })),
      create: ({ payload }) => wired(landing.create(payload)),
      get: ({ params }) => wired(landing.find(params)),
      update: ({ params, payload }) => wired(landing.update(params, payload)),
      delete: ({ params }) => wired(landing.remove(params)),
      files: ({ params, query }) => wired(landing.files(params, pageOf(query))),
      upload: ({ params, payload }) =>
        wired(
          Effect.gen(function* () {
            const { size } = yield* files.stat(payload.file.path)
            return yield* landing.upload(params, {
              localPath: payload.file.path,
              name: payload.file.name,
              contentType: payload.file.contentType,
              sizeBytes: Number(size),
            })
          }),
        ),
      file: ({ params }) => wired(landing.file(params, params.fileId)),
      deleteFile: ({ params }) => wired(landing.removeFile(params, params.fileId)),
    })
  }),
)
