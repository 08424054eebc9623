/**
 * A place in Avro binary data (Avro specification, "Binary encoding"). Every step is checked against the end of the data: what is
 * damaged ends in an Error that says so.
 */
export class AvroCursor {
  readonly bytes: Uint8Array
  offset: number
  #view: DataView | null = null

  constructor(bytes: Uint8Array, offset = 0) {
    this.bytes = bytes
    this.offset = offset
  }

  /** Made when floating-point numbers come, which are rare in manifests. */
  private get view(): DataView {
    this.#view ??= new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength)
    return this.#view
  }

  get isAtEnd(): boolean {
    return this.offset >= this.bytes.length
  }

  /** The next bytes, without a copy. */
  take(length: number): Uint8Array {
    if (length < 0) throw new Error("a length in it is negative")
    const end = this.offset + length
    if (end > this.bytes.length) throw truncated()
    const part = this.bytes.subarray(this.offset, end)
    this.offset = end
    return part
  }

  skip(length: number): void {
    if (length < 0) throw new Error("a length in it is negative")
    this.offset += length
    if (this.offset > this.bytes.length) throw truncated()
  }

  skipLong(): void {
    for (let length = 0; length < 10; length++) if (this.byte() < 0x80) return
    throw new Error("an integer in it is longer than 64 bits")
  }

  /** A zig-zag variable-length integer of at most 64 bits. */
  long(): bigint {
    let low = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = this.byte()
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) return BigInt((low >>> 1) ^ -(low & 1))
    }
    let value = BigInt(low)
    for (let shift = 28n; shift < 70n; shift += 7n) {
      const byte = this.byte()
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asIntN(64, (value >> 1n) ^ -(value & 1n))
    }
    throw new Error("an integer in it is longer than 64 bits")
  }

  /** A long that must be a safe JavaScript integer: lengths, counts and branches. */
  integer(): number {
    const first = this.bytes[this.offset]
    if (first !== undefined && first < 0x80) {
      this.offset++
      return (first >>> 1) ^ -(first & 1)
    }
    const value = this.long()
    if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER) throw new Error("a length in it is absurd")
    return Number(value)
  }

  float(): number {
    const at = this.offset
    this.take(4)
    return this.view.getFloat32(at, true)
  }

  double(): number {
    const at = this.offset
    this.take(8)
    return this.view.getFloat64(at, true)
  }

  byte(): number {
    const byte = this.bytes[this.offset]
    if (byte === undefined) throw truncated()
    this.offset++
    return byte
  }

  text(): string {
    const part = this.take(this.integer())
    return Buffer.from(part.buffer, part.byteOffset, part.byteLength).toString("utf8")
  }
}

export const truncated = () => new Error("it ends in the middle (truncated)")
