/** An absolute path of two parts or more, alone or behind `file:`. Keys of objects and addresses are none. */
const absolutePath = /(?<![\w/])(?:file:)?(?:\/\/)?\/(?:[\w.@+~-]+\/)+[\w.@+~-]*/g

/**
 * A message for people who use the server, not for those who run it: where its folders are is in its log. Everything that
 * it reads and writes is in the data folder.
 */
export const withoutServerPaths = (message: string): string => message.replace(absolutePath, "the data folder")
