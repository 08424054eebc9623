/** How many single-character edits (insert, delete, replace) turn one word into the other. */
const distance = (from: string, to: string): number => {
  let previous = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const replaced = previous[column - 1]! + (from[row - 1] === to[column - 1] ? 0 : 1)
      current.push(Math.min(replaced, previous[column]! + 1, current[column - 1]! + 1))
    }
    previous = current
  }
  return previous[to.length]!
}

/** The candidate that a person most likely meant, or null when none is near. */
export const nearest = (word: string, candidates: Iterable<string>): string | null => {
  const lower = word.toLowerCase()
  let best: string | null = null
  // A third of the word may be wrong; one letter always.
  let bestDistance = Math.max(1, Math.floor(lower.length / 3)) + 1
  for (const candidate of candidates) {
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
