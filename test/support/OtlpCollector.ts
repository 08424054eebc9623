import { createServer, type IncomingMessage } from "node:http"
import { gunzipSync } from "node:zlib"
import { listenOnLoopback } from "@rat/lakehouse"
import { Context, Effect, Layer } from "effect"
import { decodeExport, type OtlpSignal } from "./OtlpProtobuf.ts"

/** A span as a collector sees it. Ids are lower-case hexadecimal; times are nanoseconds since 1970. */
export interface CollectedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly name: string
  readonly startTime: bigint
  readonly endTime: bigint
  readonly isError: boolean
  readonly attributes: Readonly<Record<string, unknown>>
  readonly resource: Readonly<Record<string, unknown>>
}

export interface CollectedLog {
  readonly body: unknown
  readonly severity: string
  readonly traceId: string | undefined
  readonly spanId: string | undefined
  readonly attributes: Readonly<Record<string, unknown>>
  readonly resource: Readonly<Record<string, unknown>>
}

/** One data point. `value` is the number of a counter or gauge, and the count of a histogram. */
export interface CollectedPoint {
  readonly name: string
  readonly kind: "sum" | "gauge" | "histogram"
  readonly value: number
  readonly attributes: Readonly<Record<string, unknown>>
}

// Loosely typed: this is what other people's programs send.
// biome-ignore lint/suspicious/noExplicitAny: decoded wire data, read defensively
type Wire = any

const list = (value: Wire): ReadonlyArray<Wire> => (Array.isArray(value) ? value : [])

const valueOf = (value: Wire): unknown => {
  if (value?.arrayValue !== undefined) return list(value.arrayValue.values).map(valueOf)
  if (value?.kvlistValue !== undefined) return attributesOf(value.kvlistValue.values)
  if (value?.intValue !== undefined) return Number(value.intValue)
  return value?.stringValue ?? value?.doubleValue ?? value?.boolValue
}

const attributesOf = (attributes: Wire): Record<string, unknown> =>
  Object.fromEntries(list(attributes).map(({ key, value }) => [key, valueOf(value)]))

const idOf = (id: Wire): string | undefined =>
  typeof id === "string" && /[1-9a-f]/i.test(id) ? id.toLowerCase() : undefined

const spansOf = (data: Wire): ReadonlyArray<CollectedSpan> =>
  list(data.resourceSpans).flatMap(({ resource, scopeSpans }) =>
    list(scopeSpans).flatMap(({ spans }) =>
      list(spans).map((span) => ({
        traceId: idOf(span.traceId) ?? "",
        spanId: idOf(span.spanId) ?? "",
        parentSpanId: idOf(span.parentSpanId),
        name: String(span.name),
        startTime: BigInt(span.startTimeUnixNano ?? 0),
        endTime: BigInt(span.endTimeUnixNano ?? 0),
        isError: Number(span.status?.code ?? 0) === 2,
        attributes: attributesOf(span.attributes),
        resource: attributesOf(resource?.attributes),
      })),
    ),
  )

const logsOf = (data: Wire): ReadonlyArray<CollectedLog> =>
  list(data.resourceLogs).flatMap(({ resource, scopeLogs }) =>
    list(scopeLogs).flatMap(({ logRecords }) =>
      list(logRecords).map((record) => ({
        body: valueOf(record.body),
        severity: String(record.severityText ?? ""),
        traceId: idOf(record.traceId),
        spanId: idOf(record.spanId),
        attributes: attributesOf(record.attributes),
        resource: attributesOf(resource?.attributes),
      })),
    ),
  )

const pointsOf = (data: Wire): ReadonlyArray<CollectedPoint> =>
  list(data.resourceMetrics).flatMap(({ scopeMetrics }) =>
    list(scopeMetrics).flatMap(({ metrics }) =>
      list(metrics).flatMap((metric) => {
        const kind = (["sum", "gauge", "histogram"] as const).find((candidate) => metric[candidate] !== undefined)
        if (kind === undefined) return []
        return list(metric[kind].dataPoints).map((point) => ({
          name: String(metric.name),
          kind,
          value: Number(kind === "histogram" ? (point.count ?? 0) : (point.asInt ?? point.asDouble ?? 0)),
          attributes: attributesOf(point.attributes),
        }))
      }),
    ),
  )

const bodyOf = async (request: IncomingMessage): Promise<Buffer> => {
  const chunks: Array<Buffer> = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  return request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body
}

const signals: { readonly [path: string]: OtlpSignal } = {
  "/v1/traces": "traces",
  "/v1/logs": "logs",
  "/v1/metrics": "metrics",
}

/** A real OTLP receiver over HTTP, JSON and protobuf alike, on a free loopback port. Keeps what arrives, decoded. */
export class OtlpCollector extends Context.Service<
  OtlpCollector,
  {
    /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
    readonly endpoint: string
    readonly spans: ReadonlyArray<CollectedSpan>
    readonly logs: ReadonlyArray<CollectedLog>
    /** Every export's points; of a cumulative counter the last one counts. */
    readonly points: ReadonlyArray<CollectedPoint>
    /** Requests that could not be decoded: a test that ends with any has found a bug. */
    readonly malformed: ReadonlyArray<string>
  }
>()("rat/test/support/OtlpCollector") {
  static readonly layer = Layer.effect(
    OtlpCollector,
    Effect.gen(function* () {
      const spans: Array<CollectedSpan> = []
      const logs: Array<CollectedLog> = []
      const points: Array<CollectedPoint> = []
      const malformed: Array<string> = []
      const server = createServer((request, response) => {
        const signal = signals[request.url ?? ""]
        const isJson = request.headers["content-type"] === "application/json"
        bodyOf(request)
          .then((body) => {
            if (signal === undefined) throw new Error(`${request.method} ${request.url}`)
            const data = isJson ? JSON.parse(body.toString("utf8")) : decodeExport(signal, body)
            if (signal === "traces") spans.push(...spansOf(data))
            if (signal === "logs") logs.push(...logsOf(data))
            if (signal === "metrics") points.push(...pointsOf(data))
            response.writeHead(200, { "content-type": request.headers["content-type"] }).end(isJson ? "{}" : "")
          })
          .catch((cause: unknown) => {
            malformed.push(String(cause))
            response.writeHead(400).end()
          })
      })
      return OtlpCollector.of({ endpoint: yield* listenOnLoopback(server), spans, logs, points, malformed })
    }),
  )
}

/** The spans of a trace whose parent is not among them: one, and remote or absent, in a connected trace. */
export const rootsOf = (spans: ReadonlyArray<CollectedSpan>, traceId: string): ReadonlyArray<CollectedSpan> => {
  const own = spans.filter((span) => span.traceId === traceId)
  const ids = new Set(own.map(({ spanId }) => spanId))
  return own.filter(({ parentSpanId }) => parentSpanId === undefined || !ids.has(parentSpanId))
}
