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
}> = [
  {
    seed: 11,
    nodes: 5,
    runs: 60,
    acts: 6,
    store: "s3",
    found: "runs read uploads whose bytes were still on their way",
  },
]
