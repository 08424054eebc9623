import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { decodeDeletionVector, encodeDeletionVector } from "./DeletionVector.ts"
import { decodePuffin, encodePuffin } from "./Puffin.ts"

const sorted = (positions: Iterable<number>): Float64Array => Float64Array.from(new Set(positions)).sort()

/** Dense, sparse and run-like stretches at several heights, so that every form of container occurs. */
const positionSets = fc
  .array(
    fc
      .record({
        base: fc.constantFrom(0, 65_535, 65_536, 1_000_000, 2 ** 32 - 3, 2 ** 32, 2 ** 33 + 7, 2 ** 40),
        count: fc.constantFrom(1, 2, 5, 4096, 4097, 9000),
        step: fc.constantFrom(1, 2, 3, 7, 65_536),
      })
      .map(({ base, count, step }) => Array.from({ length: count }, (_, index) => base + index * step)),
    { maxLength: 4 },
  )
  .map((parts) => sorted(parts.flat()))

describe("DeletionVector", () => {
  it("every set of positions comes back as it was", () => {
    fc.assert(
      fc.property(positionSets, (positions) => {
        assert.deepStrictEqual(decodeDeletionVector(encodeDeletionVector(positions)), positions)
      }),
      { numRuns: 60 },
    )
  })

  it("the bytes are those of the reference writer", () => {
    const hex = (positions: ReadonlyArray<number>) =>
      Buffer.from(encodeDeletionVector(Float64Array.from(positions))).toString("hex")
    // Empty; two positions as an array container; four in a row as a run container.
    assert.strictEqual(hex([]).slice(0, 32), "0000000c" + "d1d33964" + "0000000000000000")
    assert.strictEqual(
      hex([1, 3]).slice(8, -8),
      "d1d33964" + "0100000000000000" + "00000000" + "3a30000001000000" + "00000100" + "10000000" + "01000300",
    )
    assert.strictEqual(
      hex([5, 6, 7, 8]).slice(8, -8),
      "d1d33964" + "0100000000000000" + "00000000" + "3b300000" + "01" + "00000300" + "0100" + "05000300",
    )
  })

  it("damaged bytes are refused, whatever bit is wrong", () => {
    const blob = encodeDeletionVector(sorted([1, 5, 70_000, 70_001, 70_002, 70_003, 2 ** 33]))
    fc.assert(
      fc.property(fc.nat(blob.length * 8 - 1), (bit) => {
        const damaged = Uint8Array.from(blob)
        damaged[bit >> 3]! ^= 1 << (bit & 7)
        assert.throws(() => decodeDeletionVector(damaged))
      }),
    )
    for (let length = 0; length < blob.length; length++)
      assert.throws(() => decodeDeletionVector(blob.subarray(0, length)))
  })
})

describe("Puffin", () => {
  it("vectors are found where the file says they are", () => {
    fc.assert(
      fc.property(fc.array(positionSets, { maxLength: 4 }), (sets) => {
        const vectors = sets.map((positions, index) => ({
          bytes: encodeDeletionVector(positions),
          referencedDataFile: `s3://b/é ${index}.parquet`,
          cardinality: positions.length,
        }))
        const { bytes, places } = encodePuffin(vectors)
        const listed = decodePuffin(bytes)
        assert.deepStrictEqual(
          listed.map(({ cardinality, referencedDataFile }) => ({ cardinality, referencedDataFile })),
          vectors.map(({ cardinality, referencedDataFile }) => ({ cardinality, referencedDataFile })),
        )
        for (const [index, { contentOffset, contentSizeBytes }] of places.entries()) {
          assert.deepInclude(listed[index], { contentOffset, contentSizeBytes })
          const blob = bytes.subarray(contentOffset, contentOffset + contentSizeBytes)
          assert.deepStrictEqual(decodeDeletionVector(blob), sets[index])
        }
        assert.throws(() => decodePuffin(bytes.subarray(0, bytes.length - 1)))
      }),
      { numRuns: 20 },
    )
  })
})
