import Foundation

extension LinkEnd {
  /// What fs-load says on its standard error when its connections are there and time begins to count.
  public static let measuringNotice = "measuring"

  /// Runs fs-load on this interface until it is done. `receivesOnCore`: its core also does the receive work
  /// of the interface, by a thread. `whileMeasuring` is called when all connections are there.
  public func generateLoad(
    _ order: LoadOrder, receivesOnCore: Bool = true, whileMeasuring body: (() throws -> Void)? = nil
  ) throws -> LoadReport {
    var order = order
    order.interface = interface
    let process = try host.start([host.laboratory.artifacts.loadGenerator] + order.arguments)
    defer { host.laboratory.discard(process) }
    if receivesOnCore, let core = order.core {
      // Without its XDP program the interface has no such thread, and refuses to be told of one.
      waitUntil(seconds: 5, every: 0.02) {
        !process.isRunning || (try? receiveByThread(onCore: core)).map { $0 > 0 } == true
      }
    }
    if let body {
      waitUntil(seconds: 45, every: 0.05) {
        !process.isRunning || process.errorOutput.contains(Self.measuringNotice)
      }
      try body()
    }
    // Opening, draining and setting up take a while.
    let status = process.wait(seconds: order.warmUp + order.seconds + 45)
    guard let status, status.isSuccess else {
      process.terminate(graceSeconds: 1)
      let end = status?.description ?? "no end"
      throw LaboratoryError("fs-load: \(end)\n\(process.errorOutput.suffix(2000))")
    }
    return try JSONDecoder().decode(LoadReport.self, from: Data(process.output.utf8))
  }
}
