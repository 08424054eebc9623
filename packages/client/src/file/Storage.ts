import type { Answer } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.storage`: the text files of pipelines. Paths begin with the namespace. */
export class Storage {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Files under a prefix, which begins with a namespace. `exclude` hides paths that have one of these segments. */
  list(
    prefix: string,
    options: CallOptions & { readonly exclude?: ReadonlyArray<string> } = {},
  ): Promise<Answer<"files", "list">> {
    return this.#transport.json("files", "list", { query: { prefix, exclude: options.exclude?.join(",") } }, options)
  }

  read(path: string, call?: CallOptions): Promise<Answer<"files", "read">> {
    return this.#transport.json("files", "read", { params: { path } }, call)
  }

  /** Settings and code are checked: `ValidationError` lists every problem in `details.issues`. */
  write(path: string, content: string, call?: CallOptions): Promise<Answer<"files", "write">> {
    return this.#transport.json("files", "write", { params: { path }, payload: { content } }, call)
  }

  upload(path: string, file: Blob, call?: CallOptions): Promise<Answer<"files", "upload">> {
    const payload = new FormData()
    payload.set("path", path)
    payload.set("file", file, path.split("/").at(-1) ?? path)
    return this.#transport.json("files", "upload", { payload }, call)
  }

  delete(path: string, call?: CallOptions): Promise<void> {
    return this.#transport.json("files", "delete", { params: { path } }, call)
  }
}
