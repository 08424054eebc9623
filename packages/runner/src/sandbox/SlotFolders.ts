/** Folders of a runner's slot that are there, and empty, when a run gets it. */

/** Links of the files that the run may read. */
export const inputFolder = "in/data"
/** The staged result. */
export const resultFolder = "out/result"
