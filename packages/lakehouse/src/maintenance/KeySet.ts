import { hash } from "node:crypto"

const wordsPerSlot = 4
const firstSlots = 1 << 12
/** Filled beyond this, probing takes long. */
const fullest = 0.7

/**
 * A set of texts that keeps 16 bytes of each: millions of object keys fit into memory. 128 bits of SHA-256 tell them apart,
 * so `has` is exact for all that matters, also where somebody chooses the texts.
 */
export class KeySet {
  #slots = firstSlots
  #words = new Uint32Array(firstSlots * wordsPerSlot)
  #size = 0

  get size(): number {
    return this.#size
  }

  has(key: string): boolean {
    const digest = wordsOf(key)
    return this.#words[this.#find(digest) * wordsPerSlot] !== 0
  }

  /** Whether it is new. */
  add(key: string): boolean {
    if (this.#size >= this.#slots * fullest) this.#grow()
    return this.#put(wordsOf(key))
  }

  #put(digest: Uint32Array): boolean {
    const at = this.#find(digest) * wordsPerSlot
    if (this.#words[at] !== 0) return false
    this.#words.set(digest, at)
    this.#size++
    return true
  }

  /** The slot that holds the digest, or the free one that it would take. */
  #find(digest: Uint32Array): number {
    const words = this.#words
    for (let slot = digest[1]! % this.#slots; ; slot = (slot + 1) % this.#slots) {
      const at = slot * wordsPerSlot
      if (words[at] === 0) return slot
      if (
        words[at] === digest[0] &&
        words[at + 1] === digest[1] &&
        words[at + 2] === digest[2] &&
        words[at + 3] === digest[3]
      ) {
        return slot
      }
    }
  }

  #grow(): void {
    const old = this.#words
    this.#slots *= 2
    this.#words = new Uint32Array(this.#slots * wordsPerSlot)
    this.#size = 0
    for (let at = 0; at < old.length; at += wordsPerSlot) {
      if (old[at] !== 0) this.#put(old.subarray(at, at + wordsPerSlot))
    }
  }
}

/** The first word is never 0: that marks a free slot. */
const wordsOf = (key: string): Uint32Array => {
  const bytes = hash("sha256", key, "buffer")
  const words = new Uint32Array(wordsPerSlot)
  for (let index = 0; index < wordsPerSlot; index++) words[index] = bytes.readUInt32LE(index * 4)
  if (words[0] === 0) words[0] = 1
  return words
}
