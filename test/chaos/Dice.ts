/** Choices that a seed fixes. What happens in which order still depends on the machine. */
export interface Dice {
  /** 0 inclusive to 1 exclusive. */
  readonly roll: () => number
  /** An integer, both ends inclusive. */
  readonly between: (least: number, most: number) => number
  readonly pick: <A>(items: readonly [A, ...Array<A>]) => A
}

/** Mulberry32. */
export const makeDice = (seed: number): Dice => {
  let state = seed >>> 0
  const roll = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const between = (least: number, most: number) => least + Math.floor(roll() * (most - least + 1))
  return { roll, between, pick: (items) => items[between(0, items.length - 1)]! }
}
