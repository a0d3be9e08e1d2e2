import Foundation
import Laboratory

/// The hosts of the benchmark and the link between them. The server's side runs on core 0, the client's
/// on core 1.
struct Testbed {
  static let serverCore = 0
  static let clientCore = 1
  /// Connections in TIME-WAIT that the kernel remembers: as many as an engine does.
  private static let timeWaitLimit = 131_072
  private static let moreSources = 15

  let tier: Tier
  /// For how many microseconds packets gather on the server's interface.
  private let coalesce: Int
  let laboratory: Laboratory
  let client: NetworkHost
  let server: NetworkHost
  let clientEnd: LinkEnd
  let serverEnd: LinkEnd

  init(_ tier: Tier, coalesce: Int) throws {
    guard ProcessInfo.processInfo.processorCount >= 2 else {
      throw LaboratoryError("the benchmark needs two cores")
    }
    self.tier = tier
    self.coalesce = coalesce
    laboratory = try Laboratory()
    client = try laboratory.host("client")
    server = try laboratory.host("server")
    (clientEnd, serverEnd) = try laboratory.link(
      client, "eth0", server, "fsbench0", subnet: 1,
      options: LinkOptions(segmentationOffload: tier == .native, checksumOffload: tier == .native))
    _ = try clientEnd.addSourceAddresses(Self.moreSources)
    try laboratory.allowCongestionControl("cubic")
    for host in [client, server] {
      try host.setSystemControl("net.ipv4.tcp_congestion_control", "cubic")
      try host.setSystemControl("net.ipv4.tcp_max_tw_buckets", "\(Self.timeWaitLimit)")
    }
    for end in [clientEnd, serverEnd] { try end.allowReceiveOffload() }
    if coalesce > 0 { try serverEnd.coalesceInterrupts(microseconds: coalesce) }
    // For clients of the kernel's; `generateLoad` sees to its own.
    if tier == .wire { try clientEnd.receiveByThread(onCore: Self.clientCore) }
  }

  /// Lets `carrier` have the server's link.
  func begin(_ carrier: Carrier) throws {
    if carrier == .fsd {
      try server.startDaemon(
        interfaces: [serverEnd.interface], cores: String(Self.serverCore),
        options: coalesce > 0 ? ["--coalesce-microseconds", "\(coalesce)"] : [])
    }
    // In the same way for both: otherwise the sender's core would do the work, and pay for it.
    if tier == .wire { try serverEnd.receiveByThread(onCore: Self.serverCore) }
  }

  /// Gives it back.
  func end(_ carrier: Carrier) throws {
    if carrier == .fsd { try server.daemon?.stop() }
  }
}
