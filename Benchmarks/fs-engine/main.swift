import Glibc
import FSStack

// The engine alone: two of them back to back in memory, on one core.

let arguments = CommandLine.arguments.dropFirst()
do {
  try EngineBenchmark(arguments: Array(arguments)).run()
} catch {
  print("fs-engine: \(error)")
  exit(2)
}
