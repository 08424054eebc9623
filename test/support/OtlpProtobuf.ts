/**
 * Reads the OTLP export requests of opentelemetry-proto 1.x from protobuf into the same shape as OTLP/JSON, as far as tests
 * look at them. Written against the .proto files, not against the encoder that is tested.
 */

export type OtlpSignal = "traces" | "logs" | "metrics"

type FieldKind =
  | "string"
  | "hex"
  | "varint"
  | "double"
  | "fixed64"
  | "sfixed64"
  | "bool"
  | Message
  | { readonly many: Message }

interface Message {
  readonly [fieldNumber: number]: readonly [name: string, kind: FieldKind]
}

const anyValue: Record<number, readonly [string, FieldKind]> = {
  1: ["stringValue", "string"],
  2: ["boolValue", "bool"],
  3: ["intValue", "varint"],
  4: ["doubleValue", "double"],
}
const keyValue: Message = { 1: ["key", "string"], 2: ["value", anyValue] }
anyValue[5] = ["arrayValue", { 1: ["values", { many: anyValue }] }]
anyValue[6] = ["kvlistValue", { 1: ["values", { many: keyValue }] }]
const resource: Message = { 1: ["attributes", { many: keyValue }] }

const span: Message = {
  1: ["traceId", "hex"],
  2: ["spanId", "hex"],
  4: ["parentSpanId", "hex"],
  5: ["name", "string"],
  6: ["kind", "varint"],
  7: ["startTimeUnixNano", "fixed64"],
  8: ["endTimeUnixNano", "fixed64"],
  9: ["attributes", { many: keyValue }],
  15: ["status", { 2: ["message", "string"], 3: ["code", "varint"] }],
}
const logRecord: Message = {
  1: ["timeUnixNano", "fixed64"],
  2: ["severityNumber", "varint"],
  3: ["severityText", "string"],
  5: ["body", anyValue],
  6: ["attributes", { many: keyValue }],
  9: ["traceId", "hex"],
  10: ["spanId", "hex"],
}
const numberPoint: Message = {
  4: ["asDouble", "double"],
  6: ["asInt", "sfixed64"],
  7: ["attributes", { many: keyValue }],
}
const histogramPoint: Message = { 4: ["count", "fixed64"], 5: ["sum", "double"], 9: ["attributes", { many: keyValue }] }
const metric: Message = {
  1: ["name", "string"],
  3: ["unit", "string"],
  5: ["gauge", { 1: ["dataPoints", { many: numberPoint }] }],
  7: ["sum", { 1: ["dataPoints", { many: numberPoint }] }],
  9: ["histogram", { 1: ["dataPoints", { many: histogramPoint }] }],
}

const requestOf = (outer: string, inner: string, items: string, item: Message): Message => ({
  1: [outer, { many: { 1: ["resource", resource], 2: [inner, { many: { 2: [items, { many: item }] } }] } }],
})

const requests: { readonly [S in OtlpSignal]: Message } = {
  traces: requestOf("resourceSpans", "scopeSpans", "spans", span),
  logs: requestOf("resourceLogs", "scopeLogs", "logRecords", logRecord),
  metrics: requestOf("resourceMetrics", "scopeMetrics", "metrics", metric),
}

const decode = (message: Message, bytes: Buffer): Record<string, unknown> => {
  const fields: Record<string, unknown> = {}
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]
      if (byte === undefined || shift > 63n) throw new RangeError("a varint does not end")
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new RangeError("a field is longer than its message")
    at += length
    return bytes.subarray(at - length, at)
  }
  while (at < bytes.length) {
    const tag = Number(varint())
    const wireType = tag & 7
    const raw =
      wireType === 0
        ? varint()
        : wireType === 1
          ? take(8)
          : wireType === 2
            ? take(Number(varint()))
            : wireType === 5
              ? take(4)
              : undefined
    if (raw === undefined) throw new RangeError(`wire type ${wireType} does not exist in proto3`)
    const known = message[tag >>> 3]
    if (known === undefined) continue
    const [name, kind] = known
    if (typeof kind === "object" && "many" in kind) {
      const values = (fields[name] as Array<unknown> | undefined) ?? []
      values.push(decode(kind.many as Message, raw as Buffer))
      fields[name] = values
    } else fields[name] = typeof kind === "object" ? decode(kind as Message, raw as Buffer) : scalar(kind, raw)
  }
  return fields
}

const scalar = (kind: Extract<FieldKind, string>, raw: bigint | Buffer): unknown => {
  if (typeof raw === "bigint") return kind === "bool" ? raw !== 0n : String(BigInt.asIntN(64, raw))
  switch (kind) {
    case "double":
      return raw.readDoubleLE()
    case "fixed64":
      return String(raw.readBigUInt64LE())
    case "sfixed64":
      return String(raw.readBigInt64LE())
    case "hex":
      return raw.toString("hex")
    default:
      return raw.toString("utf8")
  }
}

/** Throws a RangeError on what is no such message. */
export const decodeExport = (signal: OtlpSignal, bytes: Buffer): Record<string, unknown> =>
  decode(requests[signal], bytes)
