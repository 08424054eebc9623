import type { Column, QueryPayload } from "@rat/domain"
import type { Schema } from "effect"
import type { Answer, Plain, Query } from "../http/Plain.ts"
import type { CallOptions, Transport } from "../http/Transport.ts"

type Payload = Plain<typeof QueryPayload.Type>

/** SQL alone, or with namespace, branch, limit and time limit. */
export type QueryInput = string | Omit<Payload, "shape">

interface ResultOf<Row> {
  readonly columns: ReadonlyArray<Plain<Column>>
  readonly rows: ReadonlyArray<Row>
  /** Rows of this answer. */
  readonly total_rows: number
  readonly duration_ms: number
  /** Whether the limit cut the result. */
  readonly truncated?: boolean | undefined
}

/** Rows as objects; of columns with equal names the last one stays. */
export type ObjectsResult = ResultOf<Readonly<Record<string, Schema.Json>>>
/** Rows as arrays in the order of `columns`. */
export type ArraysResult = ResultOf<ReadonlyArray<Schema.Json>>

/** Formats that come as bytes instead of JSON. */
export const mediaTypes = {
  csv: "text/csv",
  parquet: "application/vnd.apache.parquet",
  arrow: "application/vnd.apache.arrow.stream",
} as const
export type ByteFormat = keyof typeof mediaTypes

/** Seconds that an answer may take beyond the query's own limit before the client gives up. */
const graceMs = 5_000

const payloadOf = (input: QueryInput): Omit<Payload, "shape"> => (typeof input === "string" ? { sql: input } : input)

/** A query may take as long as its own limit says, however short the client's default is. */
const callOf = (payload: Omit<Payload, "shape">, call: CallOptions): CallOptions =>
  payload.timeout_ms === undefined || call.timeoutMs !== undefined
    ? call
    : { ...call, timeoutMs: payload.timeout_ms + graceMs }

/** `client.query`: read-only SQL. Aborting the signal stops the statement on the server. */
export class Queries {
  readonly #transport: Transport
  constructor(transport: Transport) {
    this.#transport = transport
  }

  async execute(input: QueryInput, call: CallOptions = {}): Promise<ObjectsResult> {
    const payload = payloadOf(input)
    return (await this.#transport.json(
      "query",
      "run",
      { payload: { ...payload, shape: "objects" } },
      callOf(payload, call),
    )) as ObjectsResult
  }

  async arrays(input: QueryInput, call: CallOptions = {}): Promise<ArraysResult> {
    const payload = payloadOf(input)
    return (await this.#transport.json(
      "query",
      "run",
      { payload: { ...payload, shape: "arrays" } },
      callOf(payload, call),
    )) as ArraysResult
  }

  /** The whole result as a stream of bytes, without a row limit unless one is given. Cancel the stream to stop. */
  async bytes(input: QueryInput, format: ByteFormat, call: CallOptions = {}): Promise<ReadableStream<Uint8Array>> {
    const payload = payloadOf(input)
    const headers = { accept: mediaTypes[format] }
    const response = await this.#transport.send("query", "run", { payload, headers }, callOf(payload, call))
    return response.body ?? new ReadableStream({ start: (controller) => controller.close() })
  }

  /** Tables with their columns, for completion. */
  schema(query: Query<"query", "schema"> = {}, call?: CallOptions): Promise<Answer<"query", "schema">> {
    return this.#transport.json("query", "schema", { query }, call)
  }
}
