import Foundation
import Laboratory

// nginx on the kernel and on fsd, side by side in one run, with the same client.

Laboratory.showOutputByLine()
Laboratory.tearDownWhenInterrupted { print("\nInterrupted: cleaning up.") }
do {
  if CommandLine.arguments.dropFirst() == ["lossy-path"] {
    let (report, isMet) = try LossyPath().run()
    Laboratory.tearDownAll()
    print(report)
    exit(isMet ? 0 : 1)
  }
  let options = try BenchmarkOptions(arguments: Array(CommandLine.arguments.dropFirst()))
  let report = try Benchmark(options).run()
  Laboratory.tearDownAll()
  print(report.markdown)
  let directory = "build/bench"
  try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  try report.markdown.write(toFile: "\(directory)/bench.md", atomically: true, encoding: .utf8)
  try report.json().write(to: URL(fileURLWithPath: "\(directory)/bench.json"))
  print("Written to \(directory)/bench.md and \(directory)/bench.json")
  exit(report.isUsable ? 0 : 1)
} catch {
  Laboratory.tearDownAll()
  print("The benchmark failed: \(error)")
  exit(1)
}
