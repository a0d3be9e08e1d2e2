import ArgumentParser
import Glibc

/// `fsd stats`.
struct Stats: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show what the engines have counted since the daemon's start.")

  @Flag(help: "As JSON, with every counter.")
  var json = false

  @Option(
    name: .customLong("process"),
    help: "What of this process, by its number, fell back to the kernel, and why.")
  var process: Int32?

  @Flag(help: "Again each second, with rates.")
  var watch = false

  @OptionGroup var runtime: RuntimeOptions

  func validate() throws {
    guard process == nil || !watch else {
      throw ValidationError("--watch does not go with --process")
    }
  }

  func run() throws {
    if let process {
      // Kept by the library itself; it needs no daemon.
      let counters = try FallbackCounters(process: process)
      return print(json ? counters.json.render(indented: true) : counters.render())
    }
    let client = try ControlClient(try runtime.paths())
    var previous: JSON?
    while true {
      let statistics = try fetch(client)
      if json {
        print(statistics.render(indented: !watch))
      } else {
        if watch, isatty(STDOUT_FILENO) == 1 { print("\u{1b}[H\u{1b}[J", terminator: "") }
        print(StatisticsView.render(statistics, since: previous))
      }
      guard watch else { return }
      fflush(nil)
      previous = statistics
      sleep(1)
    }
  }

  private func fetch(_ client: ControlClient) throws -> JSON {
    guard let statistics = JSONParser.parse(try client.request(.statistics)) else {
      throw Failure("the daemon's reply is not understood; is it of another version?")
    }
    return StatisticsReport.withAcceptsCommon(statistics)
  }
}
