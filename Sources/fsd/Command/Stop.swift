import ArgumentParser

/// `fsd stop`.
struct Stop: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Stop the daemon; returns when everything that it set up is undone.")

  @OptionGroup var runtime: RuntimeOptions

  func run() throws {
    let client = try ControlClient(try runtime.paths())
    _ = try client.request(.stop)
    client.waitForEnd()
  }
}
