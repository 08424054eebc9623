import { Schema } from "effect"

/** Relative, in a namespace, no `..`, no empty segment, no backslash, no NUL. */
export const FilePath = Schema.String.check(
  Schema.isMaxLength(1024),
  Schema.makeFilter((path: string) =>
    path.startsWith("/") ||
    path.includes("\\") ||
    path.includes("\0") ||
    path.split("/").some((segment) => segment === "" || segment === "." || segment === "..")
      ? "must be a relative path without '..', empty segments, backslashes or NUL"
      : undefined,
  ),
).pipe(Schema.brand("FilePath"))
export type FilePath = typeof FilePath.Type

/** Lower-case hex SHA-256 of a file's bytes: its address in the blob store. */
export const ContentHash = Schema.String.check(Schema.isPattern(/^[0-9a-f]{64}$/)).pipe(Schema.brand("ContentHash"))
export type ContentHash = typeof ContentHash.Type

/** Object-store key of immutable content. Nothing expires while a version or a run points to it. */
export const blobKey = (hash: string) => `blobs/sha256/${hash.slice(0, 2)}/${hash}`

export const FileType = Schema.Literals([
  "pipeline-sql",
  "pipeline-py",
  "config",
  "meta",
  "doc",
  "test",
  "hook",
  "landing",
  "other",
])
export type FileType = typeof FileType.Type

/** The kind of a file, from its place and its name. */
export const fileTypeOf = (path: string): FileType => {
  const segments = path.split("/")
  const name = segments.at(-1) ?? ""
  if (segments[1] === "landing") return "landing"
  if (name === "pipeline.sql") return "pipeline-sql"
  if (name === "pipeline.py") return "pipeline-py"
  if (name === "config.yaml") return "config"
  if (name.endsWith(".meta.yaml")) return "meta"
  if (segments.includes("tests") && name.endsWith(".sql")) return "test"
  if (segments.includes("hooks")) return "hook"
  return name.endsWith(".md") ? "doc" : "other"
}

export class FileInfo extends Schema.Class<FileInfo>("rat/domain/FileInfo")({
  path: Schema.String,
  size: Schema.Int,
  modified: Schema.DateTimeUtcFromDate,
  type: FileType,
  version_id: Schema.optional(ContentHash),
}) {}

export class FileContent extends Schema.Class<FileContent>("rat/domain/FileContent")({
  path: Schema.String,
  content: Schema.String,
  size: Schema.Int,
  modified: Schema.DateTimeUtcFromDate,
  version_id: Schema.optional(ContentHash),
}) {}

export class FileNotFound extends Schema.TaggedError<FileNotFound>()(
  "FileNotFound",
  { path: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `File "${this.path}" does not exist.`
  }
}

/** Table data and other things that the platform owns are not files that people edit. */
export class FileProtected extends Schema.TaggedError<FileProtected>()(
  "FileProtected",
  { path: Schema.String },
  { httpApiStatus: 403 },
) {
  override get message() {
    return `"${this.path}" cannot be written through the files API. Writable are <namespace>/pipelines/… and <namespace>/landing/….`
  }
}
