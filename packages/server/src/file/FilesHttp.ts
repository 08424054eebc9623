import { Api, namePattern } from "@rat/domain"
import { Effect, FileSystem } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { envelopeResponse, wired, wireError } from "../http/ErrorEnvelope.ts"
import { RequestId } from "../http/RequestId.ts"
import { FileStorage } from "./FileStorage.ts"

/** `default` means everything in it, as `default/` does. */
const folderOf = (prefix: string): string | null => {
  const [namespace = "", ...rest] = prefix.split("/")
  if (!namePattern.test(namespace)) return null
  return rest.length === 0 ? `${namespace}/` : prefix
}

export const FilesHttp = HttpApiBuilder.group(
  Api,
  "files",
  Effect.fn(function* (handlers) {
    const storage = yield* FileStorage
    const disk = yield* FileSystem.FileSystem
    return handlers.handleAll({
      list: ({ query }) =>
        Effect.gen(function* () {
          const prefix = folderOf(query.prefix)
          if (prefix === null) {
            return envelopeResponse(
              wireError(400, `query parameter "prefix": must start with a namespace, such as "default/pipelines/"`, {
                requestId: yield* RequestId,
              }),
            )
          }
          const hidden = new Set((query.exclude ?? "").split(",").filter((segment) => segment !== ""))
          return yield* wired(
            Effect.map(storage.list(prefix), (files) => ({
              files: files.filter((file) => !file.path.split("/").some((segment) => hidden.has(segment))),
            })),
          )
        }),
      read: ({ params }) => wired(storage.read(params.path)),
      write: ({ params, payload }) =>
        wired(
          Effect.map(storage.write(params.path, Buffer.from(payload.content, "utf8")), (written) => ({
            path: written.path,
            status: "written" as const,
            version_id: written.versionId,
          })),
        ),
      upload: ({ payload }) =>
        wired(
          Effect.gen(function* () {
            const { size } = yield* disk.stat(payload.file.path)
            const written = yield* storage.upload(payload.path, {
              localPath: payload.file.path,
              contentType: payload.file.contentType,
              sizeBytes: Number(size),
            })
            return {
              path: written.path,
              filename: payload.file.name,
              size: written.sizeBytes,
              status: "uploaded" as const,
              version_id: written.versionId,
            }
          }),
        ),
      delete: ({ params }) => wired(storage.remove(params.path)),
    })
  }),
)
