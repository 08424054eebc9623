import { Schema } from "effect"

const keyFields = { namespace: Schema.String, layer: Schema.String, name: Schema.String }

export class PipelineNotFound extends Schema.TaggedError<PipelineNotFound>()("PipelineNotFound", keyFields, {
  httpApiStatus: 404,
}) {
  override get message() {
    return `Pipeline "${this.namespace}.${this.layer}.${this.name}" does not exist. Push it with \`rat push\` or create it first.`
  }
}

export class PipelineExists extends Schema.TaggedError<PipelineExists>()("PipelineExists", keyFields, {
  httpApiStatus: 409,
}) {
  override get message() {
    return `Pipeline "${this.namespace}.${this.layer}.${this.name}" already exists.`
  }
}

/** One thing wrong in a project's files, at the place where the person can change it. */
export class ProjectIssue extends Schema.Class<ProjectIssue>("rat/domain/ProjectIssue")({
  /** Path of the file inside the project or the namespace. */
  path: Schema.String,
  /** 1-based; absent when the whole file is meant. */
  line: Schema.optional(Schema.Int),
  column: Schema.optional(Schema.Int),
  /** Stable code such as `config.unknown_key`, `template.syntax`, `sql.syntax`, `ref.missing`. */
  code: Schema.String,
  /** What is wrong, and what to do. */
  message: Schema.String,
}) {
  override toString() {
    const place = [this.path, this.line, this.column].filter((part) => part !== undefined).join(":")
    return `${place}: ${this.message} [${this.code}]`
  }
}

/** Every problem of the files at once, not only the first. */
export class ProjectInvalid extends Schema.TaggedError<ProjectInvalid>()(
  "ProjectInvalid",
  { issues: Schema.Array(ProjectIssue) },
  { httpApiStatus: 422 },
) {
  override get message() {
    return this.issues.map(String).join("\n")
  }
}
