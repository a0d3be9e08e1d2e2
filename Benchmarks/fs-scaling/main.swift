import Foundation
import Laboratory

// fs-scaling [PART...]           measures, and writes docs/scaling.md
// fs-scaling run PROGRAM ...     one measurement, for itself: see `Program`

Laboratory.showOutputByLine()
do {
  var arguments = Array(CommandLine.arguments.dropFirst())
  if arguments.first == "run" {
    arguments.removeFirst()
    try Program.run(arguments)
  } else {
    try ScalingReport.make(arguments)
  }
} catch {
  FileHandle.standardError.write(Data("fs-scaling: \(error)\n".utf8))
  exit(1)
}
