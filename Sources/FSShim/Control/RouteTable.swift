import CShim
import Synchronization

/// One remembered answer: whether connections to a destination go through an engine.
struct Route {
  /// Odd while it is being written; stands first.
  fileprivate var sequenceWord: UInt32 = 0
  var generation: UInt32 = 0
  var high: UInt64 = 0
  var low: UInt64 = 0
  var port: UInt16 = 0
  /// The address to which the socket is bound.
  var localHigh: UInt64 = 0
  var localLow: UInt64 = 0
  /// Not to be believed after this moment, because without a channel no change can be seen.
  var until: UInt64 = 0
  var isValid = false
  var isAccelerated = false
}

/// The daemon's answers about destinations, remembered until addresses or routes change. A
/// direct-mapped cache, read without lock.
enum RouteTable {
  /// How long an answer lasts for a process that has no channel.
  private static var lifetime: UInt64 { 1_000_000_000 }

  /// Whether a connection there is an engine's, from an address if `local` has one.
  static func isAccelerated(_ endpoint: SocketEndpoint, from local: SocketEndpoint) -> Bool {
    if ControlConnection.isResting { return false }
    let place = place(of: endpoint, local)
    let generation = currentGeneration()
    if let known = lookUp(place, endpoint, local, generation) { return known }
    return ask(place, endpoint, local)
  }

  private static func place(
    of endpoint: SocketEndpoint, _ local: SocketEndpoint
  ) -> UnsafeMutablePointer<Route> {
    let bits = endpoint.high ^ endpoint.low ^ UInt64(endpoint.port) ^ local.high ^ local.low << 1
    var hash = bits &* 0x9e37_79b9_7f4a_7c15
    hash ^= hash >> 32
    return process.pointee.routes + Int(hash % UInt64(Limits.routes))
  }

  /// The generation that the engines announce; nil without a channel.
  private static func currentGeneration() -> UInt32? {
    let own = threadChannel()
    if own >= 0 {
      return ChannelTable.at(own).pointee.header.routeGeneration.pointee.load(ordering: .acquiring)
    }
    for index in 0..<ChannelTable.count where channelIsOpen(index) {
      return ChannelTable.at(index).pointee.header.routeGeneration.pointee.load(
        ordering: .acquiring)
    }
    return nil
  }

  private static func lookUp(
    _ place: UnsafeMutablePointer<Route>, _ endpoint: SocketEndpoint, _ local: SocketEndpoint,
    _ generation: UInt32?
  ) -> Bool? {
    let sequence = UnsafeMutableRawPointer(place).assumingMemoryBound(to: Atomic<UInt32>.self)
    let before = sequence.pointee.load(ordering: .acquiring)
    let route = place.pointee
    atomicMemoryFence(ordering: .acquiring)
    guard before & 1 == 0, sequence.pointee.load(ordering: .relaxed) == before, route.isValid,
      route.high == endpoint.high, route.low == endpoint.low, route.port == endpoint.port,
      route.localHigh == local.high, route.localLow == local.low
    else { return nil }
    if let generation {
      return route.generation == generation ? route.isAccelerated : nil
    }
    return monotonicNow() < route.until ? route.isAccelerated : nil
  }

  private static func ask(
    _ place: UnsafeMutablePointer<Route>, _ endpoint: SocketEndpoint, _ local: SocketEndpoint
  ) -> Bool {
    let lock = processWord(.control)
    guard Lock.acquire(lock) else { return false }
    defer { Lock.release(lock) }
    guard ControlConnection.ensure() else { return false }
    var message = ControlConnection.message(.route)
    message.addressHigh = endpoint.high
    message.addressLow = endpoint.low
    message.argument = UInt32(endpoint.port)
    message.localHigh = local.high
    message.localLow = local.low
    if fs_accelerates_loopback() { message.flags = ControlFlags.loopback }
    var reply = ControlConnection.Reply()
    guard ControlConnection.request(message, descriptor: -1, &reply), reply.message.status == 0
    else { return false }
    let isAccelerated = reply.message.flags & ControlFlags.accelerated != 0
    let sequence = UnsafeMutableRawPointer(place).assumingMemoryBound(to: Atomic<UInt32>.self)
    let before = sequence.pointee.load(ordering: .relaxed)
    sequence.pointee.store(before | 1, ordering: .relaxed)
    atomicMemoryFence(ordering: .releasing)
    place.pointee.generation = reply.message.routeGeneration
    place.pointee.high = endpoint.high
    place.pointee.low = endpoint.low
    place.pointee.port = endpoint.port
    place.pointee.localHigh = local.high
    place.pointee.localLow = local.low
    place.pointee.until = monotonicNow() + lifetime
    place.pointee.isAccelerated = isAccelerated
    place.pointee.isValid = true
    sequence.pointee.store((before | 1) &+ 1, ordering: .releasing)
    return isAccelerated
  }
}
