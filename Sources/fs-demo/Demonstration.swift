import Foundation
import Laboratory

/// The hosts of the demonstration and what is run on them.
struct Demonstration {
  let laboratory: Laboratory
  let client: NetworkHost
  let server: NetworkHost
  let backend: NetworkHost
  let clientEnd: LinkEnd
  let front: LinkEnd
  let back: LinkEnd
  let backendEnd: LinkEnd
  let content: Content
  let sources: [String]

  /// Sizes of the pages that are fetched and compared by hash.
  private static let pageSizes = [0, 1, 1_024, 102_400, 10_485_760]
  private static let secondsPerLoad = 3.0

  /// Makes the hosts, the links between them and the pages.
  init() throws {
    print("[1/5] Three hosts on this machine: client, server and backend, joined by two links")
    laboratory = try Laboratory()
    client = try laboratory.host("client")
    server = try laboratory.host("server")
    backend = try laboratory.host("backend")
    (clientEnd, front) = try laboratory.link(client, "eth0", server, "eth0", subnet: 1)
    (back, backendEnd) = try laboratory.link(server, "eth1", backend, "eth0", subnet: 2)
    sources = try clientEnd.addSourceAddresses(8)
    content = try laboratory.makeContent(sizes: Self.pageSizes)
    print(
      """
            client \(clientEnd.address4) --- \(front.address4) server \(back.address4) --- \
      \(backendEnd.address4) backend
            curl and a load client     HAProxy                     nginx
      """)
  }

  /// Runs the rounds, kernel and engines in turn, and sums up.
  func run() throws -> Summary {
    var summary = Summary()
    print("[2/5] The kernel first, to compare with: HAProxy and nginx as they are")
    try round(accelerated: false, into: &summary)
    print("[3/5] fsd on server and backend; the same programs under LD_PRELOAD=libfsocket.so")
    try round(accelerated: true, into: &summary)
    print("[4/5] Once more with fsd, then the kernel again: the machine's mood is shared evenly")
    try round(accelerated: true, into: &summary)
    try round(accelerated: false, into: &summary)
    print("[5/5] Cleaning up")
    return summary
  }

  /// Starts everything, fetches and compares pages, puts load on it, and stops everything.
  private func round(accelerated: Bool, into summary: inout Summary) throws {
    if accelerated {
      try server.startDaemon(interfaces: [front.interface, back.interface])
      try backend.startDaemon(interfaces: [backendEnd.interface])
    }
    // Ports of their own: what the kernel remembers of its connections (TIME-WAIT) stays its own.
    let port = accelerated ? 80 : 8_080
    let nginx = try backend.startNginx(
      NginxOptions(port: port, root: content.directory), preloaded: accelerated)
    let haproxy = try server.startHAProxy(
      HAProxyOptions(port: port, backend: "\(backendEnd.address4):\(port)"),
      preloaded: accelerated)
    try nginx.waitForAcceleration()
    try haproxy.waitForAcceleration()
    let kernelBefore = try [server, backend].map { try $0.kernelCounters() }

    for family in AddressFamily.allCases {
      try fetchPages(haproxy, family, accelerated, &summary)
    }
    try load(haproxy, short: true, accelerated, &summary)
    try load(haproxy, short: false, accelerated, &summary)

    if accelerated {
      for (host, before) in zip([server, backend], kernelBefore) {
        try summary.addEvidence(of: host, kernel: host.kernelCounters().since(before))
      }
    }
    haproxy.stop()
    nginx.stop()
    try server.daemon?.stop()
    try backend.daemon?.stop()
  }

  private func fetchPages(
    _ proxy: Server, _ family: AddressFamily, _ accelerated: Bool, _ summary: inout Summary
  ) throws {
    let directory = try laboratory.makeDirectory("pages-\(laboratory.nextNumber())")
    var arguments = ["curl", "-gsS", "--fail", "--max-time", "60"]
    for item in content.items {
      arguments += ["-o", "\(directory)/\(item.name)", proxy.url(front, family, item.name)]
    }
    try client.run(arguments)
    // curl makes no file for an empty page.
    let received = content.items.filter {
      FileManager.default.fileExists(atPath: "\(directory)/\($0.name)")
    }
    let hashes = try laboratory.hashes(of: received.map { "\(directory)/\($0.name)" })
    let wrong = zip(received, hashes).count { $0.hash != $1 }
    let missing = content.items.count { $0.size > 0 } - received.count { $0.size > 0 }
    let bytes = received.reduce(0) { $0 + $1.size }
    summary.addPages(bytes: bytes, wrong: wrong + missing, accelerated: accelerated)
    print(
      "      \(family.rawValue): \(content.items.count) pages of 0 bytes to 10 MB through HAProxy "
        + "and nginx: \(wrong + missing == 0 ? "all bytes right" : "\(wrong + missing) WRONG")")
  }

  private func load(
    _ proxy: Server, short: Bool, _ accelerated: Bool, _ summary: inout Summary
  ) throws {
    let plan = LoadPlan(
      address: front.address4, port: proxy.port, shortConnections: short, concurrency: 64,
      seconds: Self.secondsPerLoad, sources: sources,
      expectedBody: Array(NginxOptions().text.utf8))
    let result = try client.perform {
      var load = try LoadClient(plan)
      return load.run()
    }
    summary.addLoad(result, short: short, accelerated: accelerated)
    let kind = short ? "short connections" : "keep-alive"
    print(
      "      \(kind): \(grouped(result.requests)) requests, \(grouped(Int(result.rate)))/s, "
        + (result.isClean
          ? "every body right"
          : "\(result.wrongResponses) WRONG, \(result.failures) failed "
            + "(\(result.firstFailure ?? ""))"))
  }
}
