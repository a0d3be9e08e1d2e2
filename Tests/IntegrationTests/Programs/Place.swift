import Laboratory
import Testing

/// Where a program on the server's host and its partner meet.
enum Place: String, CaseIterable, CustomTestStringConvertible {
  /// The partner is on the other host, and the kernel's.
  case managedInterface
  /// The partner is on the same host, and preloaded as well; both have asked for FSD_LOOPBACK.
  case loopback

  var testDescription: String { rawValue }

  /// Where `make test` has a program meet its partner; `make test-all` has both.
  static var tested: [Place] { Tier.isEverything ? allCases : [.managedInterface] }

  /// Whether the partner is preloaded.
  var isPartnerPreloaded: Bool { self == .loopback }
}

extension Network {
  /// Runs `body` with programs that are to meet at `place`, and checks that the daemon then holds what it
  /// held before.
  func meeting(_ place: Place, _ body: () throws -> Void) throws {
    server.environmentOfPreloaded = place == .loopback ? ["FSD_LOOPBACK": "1"] : [:]
    defer { server.environmentOfPreloaded = [:] }
    try expectNoLeak(body)
  }

  /// The host of the partner.
  func partner(at place: Place) -> NetworkHost { place == .loopback ? server : peer }

  /// Where the partner finds a server program.
  func serverAddress(at place: Place) -> String {
    place == .loopback ? "127.0.0.1" : front.address4
  }

  /// Where a client program finds its partner.
  func partnerAddress(at place: Place) -> String {
    place == .loopback ? "127.0.0.1" : peerEnd.address4
  }
}
