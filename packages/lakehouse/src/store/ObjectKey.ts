import { Effect } from "effect"

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
const forbidden = /[\u0000-\u001f\u007f\\]/

const isRelative = (path: string): boolean =>
  !forbidden.test(path) &&
  !path.startsWith("/") &&
  !path.includes("//") &&
  path.split("/").every((segment) => segment !== "." && segment !== "..")

/**
 * Keys look like `a/b/c`: relative, no empty, `.` or `..` segments, no control characters or backslashes, no leading dot
 * (such keys belong to the stores themselves: half-written files, probes), at most 1,024 bytes (the limit of S3). Names that people choose are validated where they come in; a bad key in here is a
 * programmer's error.
 */
export const isObjectKey = (key: string): boolean =>
  key !== "" && !key.startsWith(".") && isRelative(key) && !key.endsWith("/") && Buffer.byteLength(key) <= 1024

/** As a key, but may be empty, end with a slash or in the middle of a segment. */
const isObjectPrefix = (prefix: string): boolean => isRelative(prefix)

/** Orders keys as S3 lists them: by their UTF-8 bytes. */
export const compareKeys = (left: string, right: string): number =>
  Buffer.compare(Buffer.from(left), Buffer.from(right))

/** Dies on a bad key, before it can touch anything. */
export const checkKey = (key: string): Effect.Effect<void> =>
  isObjectKey(key) ? Effect.void : Effect.die(new RangeError(`"${key}" cannot be the key of an object.`))

/** As `checkKey`, for prefixes. */
export const checkPrefix = (prefix: string): Effect.Effect<void> =>
  isObjectPrefix(prefix) ? Effect.void : Effect.die(new RangeError(`"${prefix}" cannot be a prefix of keys.`))
