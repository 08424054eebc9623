import {
  type ContentHash,
  FileContent,
  FileInfo,
  FileNotFound,
  type FilePath,
  type FileProtected,
  fileTypeOf,
  type LandingFile,
  type NamespaceNotFound,
  ProjectInvalid,
  type RoleUnavailable,
  type ZoneNotFound,
} from "@rat/domain"
import { type ObjectNotFound, ObjectStore, type StoreUnavailable } from "@rat/lakehouse"
import { Context, type DateTime, Effect, FileSystem, Layer, type PlatformError, Schema } from "effect"
import type { SqlError } from "effect/sql"
import { LandingRepository, type Upload } from "../landing/LandingRepository.ts"
import { ProjectValidation } from "../project/ProjectValidation.ts"
import { areaOf, editableArea, type FileArea } from "./FileArea.ts"
import { FileRepository, fileInfo } from "./FileRepository.ts"

/** What a write made. `path` differs from the one asked for in landing zones, where names get the time before them. */
export interface WrittenFile {
  readonly path: string
  readonly sizeBytes: number
  readonly versionId: string
}

/** Reading a file as text puts all of it into one answer. */
const maxReadBytes = 32 * 2 ** 20

export class FileTooLarge extends Schema.TaggedError<FileTooLarge>()(
  "FileTooLarge",
  { path: Schema.String, sizeBytes: Schema.Int },
  { httpApiStatus: 413 },
) {
  override get message() {
    return `"${this.path}" has ${this.sizeBytes} bytes; at most ${maxReadBytes} can be read as text. Query it in a pipeline with landing_zone().`
  }
}

type WriteError =
  | FileProtected
  | RoleUnavailable
  | ProjectInvalid
  | NamespaceNotFound
  | ZoneNotFound
  | ObjectNotFound
  | StoreUnavailable
  | PlatformError.PlatformError
  | SqlError.SqlError

/** Kinds of files that mean something to a run and are checked before they are kept. */
const checkedTypes = new Set(["pipeline-sql", "pipeline-py", "config", "test"])

/** Files as the files API sees them: pipelines' files and landing files under one tree of paths. */
export class FileStorage extends Context.Service<
  FileStorage,
  {
    /** Files below a prefix, in path order. */
    readonly list: (prefix: string) => Effect.Effect<ReadonlyArray<FileInfo>, SqlError.SqlError>
    /** Text of a file; bytes that are no UTF-8 are replaced. */
    readonly read: (
      path: FilePath,
    ) => Effect.Effect<FileContent, FileNotFound | FileTooLarge | ObjectNotFound | StoreUnavailable | SqlError.SqlError>
    /** Pipelines' files are checked in the context of their folder; problems of this file refuse it. */
    readonly write: (path: FilePath, bytes: Uint8Array) => Effect.Effect<WrittenFile, WriteError>
    /** As `write`, from a local file that is taken over. Uploads to landing zones are not read into memory. */
    readonly upload: (path: FilePath, upload: Omit<Upload, "name">) => Effect.Effect<WrittenFile, WriteError>
    readonly remove: (
      path: FilePath,
    ) => Effect.Effect<void, FileNotFound | FileProtected | StoreUnavailable | SqlError.SqlError>
  }
>()("rat/server/file/FileStorage") {
  static readonly layer = Layer.effect(
    FileStorage,
    Effect.gen(function* () {
      const files = yield* FileRepository
      const landing = yield* LandingRepository
      const validation = yield* ProjectValidation
      const objects = yield* ObjectStore
      const disk = yield* FileSystem.FileSystem

      const list = Effect.fn("FileStorage.list")(function* (prefix: string) {
        const [edited, landed] = yield* Effect.all([files.list(prefix), landing.under(prefix)], { concurrency: 2 })
        return [...edited.map(fileInfo), ...landed.map(landingInfo)].sort((a, b) => (a.path < b.path ? -1 : 1))
      })

      const content = (path: string, bytes: Uint8Array, modified: DateTime.Utc, versionId?: ContentHash) =>
        new FileContent({
          path,
          content: new TextDecoder().decode(bytes),
          size: bytes.byteLength,
          modified,
          ...(versionId === undefined ? {} : { version_id: versionId }),
        })

      const read = Effect.fn("FileStorage.read")(function* (path: FilePath) {
        if (areaOf(path)?.kind === "landing") {
          const found = yield* landing.byKey(path)
          if (found === null) return yield* new FileNotFound({ path })
          if (found.size_bytes > maxReadBytes) return yield* new FileTooLarge({ path, sizeBytes: found.size_bytes })
          return content(path, yield* objects.get(found.s3_path), found.uploaded_at)
        }
        const { file, bytes } = yield* files.read(path)
        return content(path, bytes, file.modified, file.hash)
      })

      /** The pipeline's files as they would be, checked; only problems of the file at hand refuse it. */
      const check = Effect.fn("FileStorage.check")(function* (
        area: Extract<FileArea, { kind: "pipelines" }>,
        path: FilePath,
        bytes: Uint8Array,
      ) {
        if (area.folder === null || !checkedTypes.has(fileTypeOf(path))) return
        const inside = (full: string) => full.slice(area.namespace.length + 1)
        const others = (yield* files.list(area.folder)).filter((file) => file.path !== path)
        const project = yield* Effect.forEach(
          others.filter((file) => checkedTypes.has(fileTypeOf(file.path))),
          (file) =>
            Effect.map(files.blob(file.hash), (blob) => ({
              path: inside(file.path),
              content: new TextDecoder().decode(blob),
            })),
          { concurrency: 8 },
        )
        const own = { path: inside(path), content: new TextDecoder().decode(bytes) }
        const issues = yield* validation.issues(area.namespace, [...project, own])
        const mine = issues.filter((issue) => issue.path === own.path)
        if (mine.length > 0) return yield* new ProjectInvalid({ issues: mine })
      })

      const edit = Effect.fn("FileStorage.edit")(function* (
        area: Extract<FileArea, { kind: "pipelines" }>,
        path: FilePath,
        bytes: Uint8Array,
      ) {
        yield* check(area, path, bytes)
        const content = new TextDecoder().decode(bytes)
        const [queueing] = yield* validation.queueing([{ path: path.slice(area.namespace.length + 1), content }])
        const stored = yield* files.write(path, bytes, queueing)
        return { path, sizeBytes: stored.sizeBytes, versionId: stored.hash }
      })

      const upload = Effect.fn("FileStorage.upload")(function* (path: FilePath, sent: Omit<Upload, "name">) {
        const area = yield* editableArea(path)
        if (area.kind === "pipelines") return yield* edit(area, path, yield* disk.readFile(sent.localPath))
        const landed = yield* landing.upload(
          { namespace: area.namespace, name: area.zone },
          { ...sent, name: area.name },
        )
        return { path: landed.s3_path, sizeBytes: landed.size_bytes, versionId: landed.id }
      })

      const write = Effect.fn("FileStorage.write")(function* (path: FilePath, bytes: Uint8Array) {
        const area = yield* editableArea(path)
        if (area.kind === "pipelines") return yield* edit(area, path, bytes)
        const localPath = yield* disk.makeTempFileScoped({ prefix: "rat-upload-" })
        yield* disk.writeFile(localPath, bytes)
        return yield* upload(path, { localPath, contentType: "text/plain", sizeBytes: bytes.byteLength })
      }, Effect.scoped)

      const remove = Effect.fn("FileStorage.remove")(function* (path: FilePath) {
        const area = yield* editableArea(path)
        if (area.kind === "pipelines") {
          const removed = yield* files.remove([path])
          if (removed.length === 0) return yield* new FileNotFound({ path })
          return
        }
        const found = yield* landing.byKey(path)
        const gone = new FileNotFound({ path })
        if (found === null) return yield* gone
        yield* landing
          .removeFile({ namespace: area.namespace, name: area.zone }, found.id)
          .pipe(Effect.catchTag(["ZoneNotFound", "LandingFileNotFound"], () => Effect.fail(gone)))
      })

      return FileStorage.of({ list, read, write, upload, remove })
    }),
  )
}

const landingInfo = (file: LandingFile): FileInfo =>
  new FileInfo({ path: file.s3_path, size: file.size_bytes, modified: file.uploaded_at, type: "landing" })
