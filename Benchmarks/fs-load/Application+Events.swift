import FSRing
import FSStack
import Foundation
import Laboratory

extension Application {
  /// A server that refuses everything would otherwise make this spin without end.
  private static let failureLimit = 1_000

  /// Takes one event.
  mutating func take(_ event: Event, _ now: UInt64) throws {
    let place = index(event.slot)
    if event.kind == EventKind.released.rawValue {
      unsafe channel.reclaimAll(&connections[place].chunks)
      unsafe connections[place].phase = .free
      channel.giveSlot(event.slot)
      return
    }
    if event.kind == EventKind.accepted.rawValue {
      unsafe connections[place] = Connection(phase: .serving)
      tally.served += 1
    }
    if event.acknowledged > 0 {
      unsafe channel.reclaim(event.acknowledged, &connections[place].chunks)
    }
    if unsafe connections[place].phase == .closing || event.flags == 0 { return }
    if event.flags & EventFlags.failed != 0 {
      unsafe channel.reclaimAll(&connections[place].chunks)
      let phase = unsafe connections[place].phase
      tally.fail(unsafe "\(phase): \(String(cString: strerror(Int32(event.error))))")
      return try close(event.slot)
    }
    if event.flags & EventFlags.connected != 0 { connected(event.slot) }
    if event.flags & EventFlags.peerFinished != 0 {
      unsafe connections[place].peerFinished = true
    }
    if unsafe connections[place].phase == .serving { return try serve(event) }
    if event.flags & EventFlags.data != 0 { try received(event, now) }
    if unsafe connections[place].peerFinished { try finished(event.slot) }
  }

  private mutating func connected(_ slot: UInt32) {
    let place = index(slot)
    if idleCount < order.idle, exchange.answer != nil {
      return move(place, to: .idle)
    }
    move(place, to: .ready)
    switch order.kind {
    case .close, .echoClose:
      // Due when the connection was.
      _ = ask(slot, unsafe connections[place].began)
    case .keepAlive, .redisGet, .redisSet, .echo:
      if exchange.answer == nil {
        _ = ask(slot, unsafe connections[place].began)
      } else {
        goOn(slot, unsafe connections[place].began)
      }
    }
  }

  /// Compares what has arrived with what must.
  private mutating func received(_ event: Event, _ now: UInt64) throws {
    let place = index(event.slot)
    let bytes = unsafe channel.bytes(of: event)
    unsafe connections[place].unconsumed += UInt32(bytes.count)
    guard unsafe connections[place].phase == .waiting else {
      tally.wrong += 1
      return try close(event.slot)
    }
    guard let answer = exchange.answer else {
      if unsafe try exchange.learn(bytes) { try learnt(event.slot, now) }
      return
    }
    let position = unsafe connections[place].received
    guard position + bytes.count <= answer.count, unsafe answer.matches(bytes, at: position) else {
      tally.wrong += 1
      return try close(event.slot)
    }
    unsafe connections[place].received = position + bytes.count
    if position + bytes.count == answer.count { try answered(event.slot, now) }
  }

  /// The first answer of an HTTP server is not measured.
  private mutating func learnt(_ slot: UInt32, _ now: UInt64) throws {
    consume(slot)
    move(index(slot), to: .ready)
    if order.kind == .keepAlive { goOn(slot, now) }
  }

  private mutating func answered(_ slot: UInt32, _ now: UInt64) throws {
    let place = index(slot)
    tally.answers += UInt64(order.pipeline)
    tally.record(began: unsafe connections[place].began, now: now)
    move(place, to: .ready)
    if order.kind.isShort { return }
    consume(slot)
    goOn(slot, now)
  }

  /// The server sends no more.
  private mutating func finished(_ slot: UInt32) throws {
    let place = index(slot)
    let phase = unsafe connections[place].phase
    guard phase != .closing else { return }
    if phase != .ready || !order.kind.isShort {
      tally.fail("\(phase): closed by the server")
    }
    try close(slot)
  }

  /// Closes; all that was received counts as read.
  mutating func close(_ slot: UInt32) throws {
    guard tally.failures < Self.failureLimit, tally.wrong < Self.failureLimit else {
      throw LaboratoryError(
        "\(tally.failures) failures, \(tally.wrong) wrong answers: \(tally.firstFailure ?? "")")
    }
    let place = index(slot)
    move(place, to: .closing)
    var command = Command(.close, slot: slot)
    command.length = unsafe connections[place].unconsumed
    unsafe connections[place].unconsumed = 0
    channel.submit(command)
  }

  mutating func consume(_ slot: UInt32) {
    let place = index(slot)
    guard unsafe connections[place].unconsumed > 0 else { return }
    var command = Command(.consume, slot: slot)
    command.length = unsafe connections[place].unconsumed
    unsafe connections[place].unconsumed = 0
    channel.submit(command)
  }
}
