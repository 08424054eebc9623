const names = [
  "",
  "POINT",
  "LINESTRING",
  "POLYGON",
  "MULTIPOINT",
  "MULTILINESTRING",
  "MULTIPOLYGON",
  "GEOMETRYCOLLECTION",
] as const

/**
 * A geometry as well-known text (OGC Simple Features, ISO 19125-1), as DuckDB prints it, from well-known binary, which is how
 * DuckDB and Iceberg hold it. Bytes that are none become the text of their hex digits.
 */
export const geometryText = (bytes: Uint8Array): string => {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let at = 0

  /** `(1 2, 3 4)` without the name; the parts of a multi geometry do not repeat theirs. */
  const body = (): { readonly name: string; readonly text: string } => {
    const little = view.getUint8(at) === 1
    const code = view.getUint32(at + 1, little)
    at += 5
    const kind = code % 1000
    const flags = Math.floor(code / 1000)
    const dimensions = 2 + (flags === 3 ? 2 : flags > 0 ? 1 : 0)
    const name = names[kind]
    if (name === undefined || name === "" || flags > 3) throw new RangeError("no geometry")
    const label = `${name}${["", " Z", " M", " ZM"][flags]}`
    const count = () => {
      const value = view.getUint32(at, little)
      at += 4
      return value
    }
    const number = () => {
      const value = view.getFloat64(at, little)
      at += 8
      return value
    }
    const point = () => Array.from({ length: dimensions }, number)
    const points = () => Array.from({ length: count() }, () => point().join(" "))
    const bracketed = (parts: ReadonlyArray<string>) => (parts.length === 0 ? "EMPTY" : `(${parts.join(", ")})`)
    switch (kind) {
      case 1: {
        const coordinates = point()
        return { name: label, text: coordinates.every(Number.isNaN) ? "EMPTY" : `(${coordinates.join(" ")})` }
      }
      case 2:
        return { name: label, text: bracketed(points()) }
      case 3:
        return { name: label, text: bracketed(Array.from({ length: count() }, () => bracketed(points()))) }
      default: {
        const parts = Array.from({ length: count() }, body)
        return {
          name: label,
          text: bracketed(
            parts.map((part) =>
              kind === 7 ? `${part.name} ${part.text}` : kind === 4 ? part.text.replace(/^\((.*)\)$/, "$1") : part.text,
            ),
          ),
        }
      }
    }
  }
  try {
    const { name, text } = body()
    return `${name} ${text}`
  } catch {
    return Buffer.from(bytes).toString("hex")
  }
}
