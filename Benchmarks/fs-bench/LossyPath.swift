import Foundation
import Laboratory

/// Goodput over a path that loses segments: nginx on the kernel and on fsd in turn, the same client of
/// the kernel, the same path, CUBIC on both sides.
struct LossyPath {
  /// Bytes that each transfer carries.
  private static let size = 10_000_000
  /// 1 % loss either way, 20 ms there and back.
  private static let conditions = ImpairmentConditions(loss: 0.01, delay: 10_000)
  private static let pairs = 5

  private let laboratory: Laboratory
  private let client: NetworkHost
  private let server: NetworkHost
  private let serverEnd: LinkEnd
  private let impairment: Impairment
  private let content: Content

  init() throws {
    laboratory = try Laboratory()
    client = try laboratory.host("client")
    server = try laboratory.host("server")
    (_, serverEnd, impairment) = try laboratory.impairedLink(
      client, "eth0", server, "fsbench0", subnet: 1)
    content = try laboratory.makeContent(sizes: [Self.size])
  }

  /// Runs the pairs, and returns the report; with it, whether fsd is at least as fast.
  func run() throws -> (report: String, isMet: Bool) {
    var rates: [Carrier: [Double]] = [.kernel: [], .fsd: []]
    for pair in 0..<Self.pairs {
      let order: [Carrier] = pair % 2 == 0 ? [.kernel, .fsd] : [.fsd, .kernel]
      for carrier in order {
        let rate = try transfer(carrier)
        rates[carrier, default: []].append(rate)
        print(String(format: "%@ %6.2f Mbit/s", carrier.rawValue, rate))
      }
    }
    let kernel = median(rates[.kernel] ?? [])
    let fsd = median(rates[.fsd] ?? [])
    let report = """

      Goodput of one transfer of \(Self.size / 1_000_000) MB, 1 % loss and 10 ms in either direction, medians of
      \(Self.pairs): kernel \(String(format: "%.2f", kernel)) Mbit/s, fsd \
      \(String(format: "%.2f", fsd)) Mbit/s, fsd / kernel \(String(format: "%.2f", fsd / kernel)).
      """
    return (report, fsd >= kernel)
  }

  private func transfer(_ carrier: Carrier) throws -> Double {
    if carrier == .fsd { try server.startDaemon(interfaces: [serverEnd.interface]) }
    defer { try? server.daemon?.stop() }
    let nginx = try server.startNginx(
      NginxOptions(port: carrier == .fsd ? 80 : 8_080, root: content.directory),
      preloaded: carrier == .fsd)
    defer { nginx.stop() }
    try nginx.waitForAcceleration()
    impairment.set(Self.conditions)
    let start = MonotonicTime.now
    try client.run(
      [
        "curl", "-gsSf", "--max-time", "120", "-o", "/dev/null",
        nginx.url(serverEnd, .ipv4, content.items[0].name),
      ], seconds: 130)
    return Double(Self.size) * 8 / 1e6 / (MonotonicTime.now - start)
  }
}
