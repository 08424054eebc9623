/**
 * What a person most likely meant by a word that does not exist. Imports nothing: slot processes load this file alone
 * (`@rat/domain/suggestion`).
 */

/** Edits (insert, delete, replace, swap of neighbours) between two words. */
const distance = (from: string, to: string): number => {
  let beforePrevious: ReadonlyArray<number> = []
  let previous = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const replaced = previous[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1)
      const isSwap = row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      const swapped = isSwap ? beforePrevious[column - 2]! + 1 : Number.POSITIVE_INFINITY
      current.push(Math.min(replaced, swapped, previous[column]! + 1, current[column - 1]! + 1))
    }
    beforePrevious = previous
    previous = current
  }
  return previous[to.length]!
}

/** Words that are longer than any name are not looked at: the work rises with the product of both lengths. */
const longestWord = 300

/** The candidate that is nearest to the word, upper and lower case being the same; null when none is near. The first of equals wins. */
export const nearest = (word: string, candidates: Iterable<string>): string | null => {
  if (word.length > longestWord) return null
  const lower = word.toLowerCase()
  let best: string | null = null
  // A third of the word may be wrong; one letter always.
  let bestDistance = Math.max(1, Math.floor(lower.length / 3)) + 1
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - lower.length) >= bestDistance) continue
    const near = distance(lower, candidate.toLowerCase())
    if (near < bestDistance) {
      best = candidate
      bestDistance = near
    }
  }
  return best
}

/** ` Did you mean "x"?`, or nothing when no candidate is near. Ready to be appended to a sentence. */
export const didYouMean = (word: string, candidates: Iterable<string>): string => {
  const candidate = nearest(word, candidates)
  return candidate === null ? "" : ` Did you mean "${candidate}"?`
}
