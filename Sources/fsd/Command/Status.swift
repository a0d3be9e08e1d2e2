import ArgumentParser

/// `fsd status`.
struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show interfaces, engines, applications and listeners.")

  @Flag(help: "As JSON.")
  var json = false

  @OptionGroup var runtime: RuntimeOptions

  func run() throws {
    let text = try ControlClient(try runtime.paths()).request(.status)
    guard let status = JSONParser.parse(text) else {
      throw Failure("the daemon's reply is not understood; is it of another version?")
    }
    print(json ? status.render(indented: true) : StatusView.render(status))
  }
}
