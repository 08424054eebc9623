/*
 * Which small files a commit takes along, so that many small commits leave few files: those of one size class are rewritten together
 * when there are enough of them, into one of a larger class. A row is written again once for each class at most (8 commits
 * make a file of the next class, 64 one of the class after), so that N commits leave about 7 · log8 N files.
 */

export interface FoldLimits {
  /** Files of one class that are left alone. */
  readonly fanIn: number
  /** Files from this size on are never taken along. */
  readonly smallBytes: number
}

export const dataFold: FoldLimits = { fanIn: 8, smallBytes: 16 * 1024 * 1024 }
/** Positions are read with every scan of the files that they are about, so that fewer of them pay. */
export const deleteFold: FoldLimits = { fanIn: 8, smallBytes: 8 * 1024 * 1024 }

/** Files below this are of the smallest class: their size is mostly that of the Parquet footer. */
const classBytes = 16 * 1024

const classOf = (sizeBytes: number, { fanIn }: FoldLimits): number =>
  sizeBytes < classBytes ? 0 : 1 + Math.floor(Math.log(sizeBytes / classBytes) / Math.log(fanIn))

/**
 * Old files to fold into a new one of about `newBytes`: all of the classes from the smallest one up that become full, one after
 * the other. None when nothing is full; the sizes are of one partition.
 */
export const filesToFold = <A extends { readonly fileSizeBytes: number }>(
  old: ReadonlyArray<A>,
  newBytes: number,
  limits: FoldLimits,
): ReadonlyArray<A> => {
  const small = old.filter(({ fileSizeBytes }) => fileSizeBytes < limits.smallBytes)
  const classes = Map.groupBy(small, ({ fileSizeBytes }) => classOf(fileSizeBytes, limits))
  let folded: ReadonlyArray<A> = []
  let size = newBytes
  for (;;) {
    const top = classOf(size, limits)
    const members = small.filter((file) => !folded.includes(file) && classOf(file.fileSizeBytes, limits) <= top)
    const isFull = (classes.get(top)?.length ?? 0) + 1 >= limits.fanIn || members.length + 1 >= limits.fanIn * 2
    if (!isFull || members.length === 0) return folded
    folded = [...folded, ...members]
    size += members.reduce((sum, { fileSizeBytes }) => sum + fileSizeBytes, 0)
    if (size >= limits.smallBytes) return folded
  }
}
