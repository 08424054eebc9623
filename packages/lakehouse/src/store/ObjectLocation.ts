/**
 * A location as schemes and slashes are written most often: `s3a://b/k` and `s3n://b/k` are `s3://b/k`, `file:/a` is
 * `file:///a`. Engines on Hadoop's file systems write the others into metadata, so locations are compared in this spelling.
 */
export const usualLocation = (location: string): string =>
  location.replace(/^s3[an]:\/\//, "s3://").replace(/^file:\/(?!\/)/, "file:///")

/** Locations of a store's objects (what Iceberg metadata holds) and their keys, by the prefix that all of them have. */
export const locationsBelow = (root: string) => ({
  root,
  locationOf: (key: string): string => root + key,
  keyOf: (location: string): string => {
    const usual = usualLocation(location)
    if (!usual.startsWith(root)) throw new RangeError(`"${location}" does not lie in the object store ${root}.`)
    return usual.slice(root.length)
  },
})
