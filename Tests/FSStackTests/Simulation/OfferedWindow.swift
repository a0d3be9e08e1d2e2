@testable import FSStack

/// The window that one side of a flow has offered, as far as anyone can tell from its segments. Where
/// it may have forgotten that windows are scaled, both meanings are followed until one is refuted.
struct OfferedWindow {
  /// The right edge, furthest to the right, by the shift of the window field.
  private var edges: [UInt8: SequenceNumber] = [:]
  /// That of SYNs, whose windows have no shift.
  private var first: SequenceNumber?

  /// Where it may end at most.
  var edge: SequenceNumber? { edges.values.max() ?? first }

  /// Takes the window of a SYN; returns by how much its edge has gone left, if it has. A field that is
  /// full cannot offer again all that was offered with a shift.
  mutating func offer(synchronize frame: TCPFrame) -> Int32? {
    let edge = frame.acknowledgement + UInt32(frame.window)
    let before = edges.values.min() ?? first
    if edges.isEmpty { first = max(first ?? edge, edge) }
    guard let before, before - edge >= 1, frame.window != .max else { return nil }
    return before - edge
  }

  /// Takes the window of another segment, whose field has one of these shifts; returns by how much its
  /// edge has gone left, if it has by every shift. One that is no multiple of its unit is rounded
  /// (RFC 7323 section 2.4).
  mutating func offer(_ frame: TCPFrame, shifts: Set<UInt8>) -> Int32? {
    if edges.isEmpty {
      for shift in shifts { edges[shift] = first ?? Self.edge(frame, shift) }
    }
    let losses = edges.reduce(into: [UInt8: Int32]()) { losses, entry in
      let loss = entry.value - Self.edge(frame, entry.key)
      if loss >= Int32(1) << Int32(entry.key) { losses[entry.key] = loss }
    }
    guard losses.count < edges.count else { return losses.values.min() }
    edges = edges.filter { losses[$0.key] == nil }
    for (shift, old) in edges { edges[shift] = max(old, Self.edge(frame, shift)) }
    return nil
  }

  private static func edge(_ frame: TCPFrame, _ shift: UInt8) -> SequenceNumber {
    frame.acknowledgement + UInt32(frame.window) << UInt32(shift)
  }
}
