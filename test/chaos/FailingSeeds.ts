/**
 * Tests that found something, in the smallest form that did: the seed decides what happens to whom. The short form of the
 * suite plays each of them again.
 */
export const failingSeeds: ReadonlyArray<{
  readonly seed: number
  readonly nodes: number
  readonly runs: number
  readonly acts: number
  readonly store: "folder" | "s3"
  /** What was wrong. */
  readonly found: string
}> = []
