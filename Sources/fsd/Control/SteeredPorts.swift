import FSStack

/// Which ports are steered to the engines, and how. Follows the listeners: a port is steered while
/// one listens on it, and until its last connection is gone.
final class SteeredPorts {
  /// One entry of the XDP program's map.
  struct Key: Hashable {
    /// Specific, or the unspecified address of a family.
    var address: IPAddress
    var port: UInt16
  }

  private struct Entry {
    /// Numbers of the listeners that want it; none: it is draining.
    var listeners: Set<UInt32>
    var treatment: PortTreatment
  }

  private let steering: any PortSteering
  private let engines: [any EngineControl]
  private var entries: [Key: Entry] = [:]
  private var reviews: UInt64 = 0
  private var looksSoon = false
  private var nextPort = 0

  /// Reviews from one look at the kernel's connections to the next: each costs some milliseconds,
  /// because the kernel searches its whole table.
  static let kernelReviewPeriod: UInt64 = 10
  /// Ports looked at one by one in a review.
  static let portsPerReview = 8

  init(steering: any PortSteering, engines: [any EngineControl]) {
    self.steering = steering
    self.engines = engines
  }

  /// The map entries that a listener needs.
  static func keys(of listener: ListenerDescription) -> [Key] {
    let own = Key(address: listener.address, port: listener.port)
    guard listener.address == .anyIPv6, !listener.ipv6Only else { return [own] }
    return [own, Key(address: .anyIPv4, port: listener.port)]
  }

  /// Steers the ports of a listener. When it fails nothing has changed.
  func activate(_ listener: ListenerDescription) throws {
    for (position, key) in Self.keys(of: listener).enumerated() {
      do {
        try activate(key, for: listener.number)
      } catch {
        for done in Self.keys(of: listener)[..<position] { release(done, of: listener.number) }
        throw error
      }
    }
  }

  private func activate(_ key: Key, for listener: UInt32) throws {
    if var entry = entries[key], !entry.listeners.isEmpty {
      entry.listeners.insert(listener)
      entries[key] = entry
      return
    }
    // The careful treatment first: a flow the kernel opens between the look and the entry would
    // otherwise be cut off.
    try steering.setPort(key.address, key.port, .exceptKernelFlows)
    entries[key] = Entry(listeners: [listener], treatment: .exceptKernelFlows)
    looksSoon = true
    guard key.address.isUnspecified else { return }
    for (other, entry) in entries
    where other.port == key.port && !other.address.isUnspecified && entry.listeners.isEmpty
      && other.address.isIPv4 == key.address.isIPv4
    {
      remove(other)
    }
  }

  /// The listener is no more. Call it before the engines forget the listener, so that no packet
  /// finds an engine that knows nothing of it.
  func release(_ listener: ListenerDescription) {
    for key in Self.keys(of: listener) { release(key, of: listener.number) }
  }

  private func release(_ key: Key, of listener: UInt32) {
    guard var entry = entries[key] else { return }
    entry.listeners.remove(listener)
    if entry.listeners.isEmpty {
      let wildcard = Key(
        address: key.address.isIPv4 ? .anyIPv4 : .anyIPv6, port: key.port)
      if wildcard != key, let general = entries[wildcard], !general.listeners.isEmpty {
        return remove(key)
      }
      entry.treatment = .draining
      do {
        try steering.setPort(key.address, key.port, .draining)
      } catch {
        Log.note("port \(key.port): \(error); its connections are cut off")
        return remove(key)
      }
    }
    entries[key] = entry
  }

  private func remove(_ key: Key) {
    steering.removePort(key.address, key.port)
    entries[key] = nil
  }

  /// Whether `review()` has anything to look at.
  var needsReview: Bool { entries.values.contains { $0.treatment != .all } }

  /// Looks again at what passes with time: connections of the kernel, and those of listeners that
  /// are no more. Once a second while `needsReview`.
  func review() {
    for (key, entry) in entries where entry.treatment == .draining {
      if engines.allSatisfy({ $0.connectionCount(onPort: key.port) == 0 }) { remove(key) }
    }
    reviews += 1
    guard looksSoon || reviews % Self.kernelReviewPeriod == 0 else { return }
    looksSoon = false
    let careful = Set(
      entries.lazy.filter { $0.value.treatment == .exceptKernelFlows }.map(\.key.port)
    ).sorted()
    guard let first = careful.first, let last = careful.last else { return }
    if !steering.kernelHasFlows(onPorts: first...last) {
      relax(Set(careful))
    } else if careful.count > 1 {
      let some = (0..<min(careful.count, Self.portsPerReview)).map {
        careful[(nextPort + $0) % careful.count]
      }
      nextPort += some.count
      relax(Set(some.filter { !steering.kernelHasFlows(onPorts: $0...$0) }))
    }
  }

  /// The kernel is about to have a connection of its own on a port: it is asked about each packet there
  /// until a review finds that it has none.
  func expectKernelFlow(onPort port: UInt16) {
    for (key, entry) in entries where key.port == port && entry.treatment == .all {
      do {
        try steering.setPort(key.address, key.port, .exceptKernelFlows)
        entries[key]?.treatment = .exceptKernelFlows
      } catch {
        Log.note("port \(key.port): \(error)")
      }
    }
  }

  /// The kernel has no connections on these ports: it need not be asked about each packet.
  private func relax(_ ports: Set<UInt16>) {
    for (key, entry) in entries
    where entry.treatment == .exceptKernelFlows && ports.contains(key.port) {
      do {
        try steering.setPort(key.address, key.port, .all)
        entries[key]?.treatment = .all
      } catch {
        Log.note("port \(key.port): \(error)")
      }
    }
  }

  /// All entries, for the status report.
  var summary: [(key: Key, treatment: PortTreatment)] {
    entries.map { ($0.key, $0.value.treatment) }
      .sorted {
        ($0.key.port, $0.key.address.description) < ($1.key.port, $1.key.address.description)
      }
  }
}
