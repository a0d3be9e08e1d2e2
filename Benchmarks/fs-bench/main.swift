import Foundation
import Laboratory

// Servers on the kernel and on fsd, side by side in one run, with the same client.

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
  var benchmark = Benchmark(options)
  let report = Report(options, try benchmark.run())
  Laboratory.tearDownAll()
  for tier in options.tiers {
    print("\n\(tier.title)\n" + report.summary(tier).joined(separator: "\n"))
  }
  try report.write()
  print("\nAll of it, with spread and void rounds: \(options.results)/bench.md")
  exit(report.isUsable ? 0 : 1)
} catch {
  Laboratory.tearDownAll()
  print("The benchmark failed: \(error)")
  exit(1)
}
