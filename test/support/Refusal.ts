import { assert } from "@effect/vitest"
import type { RatError } from "@rat/client"

/** What somebody is told who did something wrong: sentences, nothing of the machine that it ran on. */
export const assertForPeople = (message: string, dataFolder: string) => {
  assert.isNotEmpty(message)
  assert.notMatch(message, /^\s+at .+:\d+/m, "a stack trace")
  assert.notInclude(message, dataFolder)
  assert.notMatch(message, /node_modules|\/packages\/|\bslots\/|\[object Object\]|(?<!\.)\bundefined\b/)
}

/** The error of a promise that has to reject. */
export const rejection = (promise: Promise<unknown>): Promise<RatError> =>
  promise.then(
    () => assert.fail("it should have been refused"),
    (error: unknown) => error as RatError,
  )
