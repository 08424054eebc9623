import type { Answer, Payload, Query } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

/** `client.landing`: landing zones and the files that were dropped there. */
export class Landing {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  list(query: Query<"landingZones", "list"> = {}, call?: CallOptions): Promise<Answer<"landingZones", "list">> {
    return this.#transport.json("landingZones", "list", { query }, call)
  }

  create(payload: Payload<"landingZones", "create">, call?: CallOptions): Promise<Answer<"landingZones", "create">> {
    return this.#transport.json("landingZones", "create", { payload }, call)
  }

  get(namespace: string, name: string, call?: CallOptions): Promise<Answer<"landingZones", "get">> {
    return this.#transport.json("landingZones", "get", { params: { namespace, name } }, call)
  }

  update(
    namespace: string,
    name: string,
    payload: Payload<"landingZones", "update">,
    call?: CallOptions,
  ): Promise<Answer<"landingZones", "update">> {
    return this.#transport.json("landingZones", "update", { params: { namespace, name }, payload }, call)
  }

  /** Deletes the zone and its files. */
  delete(namespace: string, name: string, call?: CallOptions): Promise<void> {
    return this.#transport.json("landingZones", "delete", { params: { namespace, name } }, call)
  }

  files(
    namespace: string,
    name: string,
    query: Query<"landingZones", "files"> = {},
    call?: CallOptions,
  ): Promise<Answer<"landingZones", "files">> {
    return this.#transport.json("landingZones", "files", { params: { namespace, name }, query }, call)
  }

  /** `file` is sent as it is read: large files need no memory. Not retried. */
  upload(
    namespace: string,
    name: string,
    filename: string,
    file: Blob,
    call?: CallOptions,
  ): Promise<Answer<"landingZones", "upload">> {
    const payload = new FormData()
    payload.set("file", file, filename)
    return this.#transport.json("landingZones", "upload", { params: { namespace, name }, payload }, call)
  }

  file(namespace: string, name: string, fileId: string, call?: CallOptions): Promise<Answer<"landingZones", "file">> {
    return this.#transport.json("landingZones", "file", { params: { namespace, name, fileId } }, call)
  }

  deleteFile(namespace: string, name: string, fileId: string, call?: CallOptions): Promise<void> {
    return this.#transport.json("landingZones", "deleteFile", { params: { namespace, name, fileId } }, call)
  }
}
