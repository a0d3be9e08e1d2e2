import ArgumentParser
import Foundation
import Laboratory

/// The command line: one load, and its report as JSON on the standard output.
@main
struct FSLoad: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fs-load",
    abstract: "Loads a TCP server from an engine of its own over AF_XDP, in one thread.",
    discussion: """
      The interface's TCP belongs to the load while it runs, as far as the ports from which it
      connects go. `fs-bench` runs this program; by hand, in a network namespace:

        fs-load --iface eth0 --target 10.77.1.2:80 --load close --connections 64 --seconds 5
      """)

  @Option(name: .customLong("iface"), help: "The network interface.")
  var interface: String
  @Option(help: "The server, ADDRESS:PORT.")
  var target: String
  @Option(help: "What is asked of the server: \(LoadKind.names).")
  var load: LoadKind
  @Option(help: "Connections at any time; with --rate, at most.")
  var connections = 64
  @Option(help: "Connections that are opened first and do nothing.")
  var idle = 0
  @Option(help: "Seconds that are measured.")
  var seconds = 3.0
  @Option(help: "Seconds before.")
  var warmUp = 1.0
  @Option(help: "Requests begun per second, at random moments; 0: the next when one is answered.")
  var rate = 0.0
  @Option(help: "Requests sent at once on a connection.")
  var pipeline = 1
  @Option(help: "Bytes of a response's body, or of a value.")
  var size = 64
  @Option(help: "What to ask for.")
  var path = "/text"
  @Option(help: "Port on which a proxy under load finds its server: this program.")
  var serve: Int?
  @Option(help: "The core to run on.")
  var core: Int?
  @Option(help: "Microseconds without work after which it sleeps.")
  var spin = 50

  func validate() throws {
    let isPossible =
      connections > 0 && connections <= 100_000 && idle >= 0 && idle <= 100_000 && seconds > 0
      && seconds <= 3600 && warmUp >= 0 && rate >= 0 && (1...64).contains(pipeline)
      && (0...1024).contains(size) && spin >= 0 && (size + 64) * pipeline <= 4096
      && (serve.map { (1..<Int(ClientDevice.ports.lowerBound)).contains($0) } ?? true)
    guard isPossible else { throw ValidationError("a number is out of its range") }
  }

  func run() throws {
    var order = LoadOrder(interface: interface, target: target, kind: load)
    order.connections = connections
    order.idle = idle
    order.seconds = seconds
    order.warmUp = warmUp
    order.rate = rate
    order.pipeline = pipeline
    order.size = size
    order.path = path
    order.backendPort = serve
    order.core = core
    order.spinMicroseconds = spin
    if let core { try Processor.pin(to: core) }
    let report = try LoadRun.perform(order)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    print(String(decoding: try encoder.encode(report), as: UTF8.self))
  }
}

extension LoadKind: ExpressibleByArgument {
  static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
}
