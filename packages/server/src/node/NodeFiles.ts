import { NodeFileSystem } from "@effect/platform-node"
import { Effect, FileSystem, Layer } from "effect"

/**
 * The file system with temporary files in a folder of the node's own: what a request had in hand when the process was killed is
 * found and removed at its next start, wherever the machine keeps its temporary files.
 */
export const nodeFiles = (folder: string): Layer.Layer<FileSystem.FileSystem> =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (files) => ({
      ...files,
      makeTempDirectory: (options) => files.makeTempDirectory({ directory: folder, ...options }),
      makeTempDirectoryScoped: (options) => files.makeTempDirectoryScoped({ directory: folder, ...options }),
      makeTempFile: (options) => files.makeTempFile({ directory: folder, ...options }),
      makeTempFileScoped: (options) => files.makeTempFileScoped({ directory: folder, ...options }),
    })),
  ).pipe(Layer.provide(NodeFileSystem.layer))
