// ICMP errors (RFC 9293 section 3.9.2.2): to which connection, whether to believe them (RFC 5927), and
// what follows (RFC 5461, as in Linux).

extension Engine {
  /// An ICMP error arrives (MUST-54). Source quench is not one (MUST-55): the parser knows none.
  @inline(never)
  mutating func receiveError(
    _ frame: UnsafeRawBufferPointer, now: Instant, mayHandOver: Bool
  ) -> Verdict {
    guard let message = unsafe ICMPError.parse(frame) else {
      drop(.icmpMalformed)
      return .done
    }
    let flow = Flow(
      local: message.source, localPort: message.sourcePort, remote: message.destination,
      remotePort: message.destinationPort)
    let hash = secret.hash(flow)
    let record = flows.find(flow, hash: hash)
    if case .connection(let id) = record {
      // Only what quotes a segment in flight can be about this connection (RFC 5927 section 4.1).
      guard connections[id].hasInFlight(message.sequence) else {
        drop(.icmpNoFlow)
        return .done
      }
      counters.errorsReceived += 1
      apply(message, to: id, now: now)
    } else if case .halfOpen(let id) = record {
      errorArrives(message, for: id)
    } else if mayHandOver, configuration.engineCount > 1,
      owner(of: flow, hash: hash) != configuration.engineIndex
    {
      counters.handedOver += 1
      return .handOver(engine: owner(of: flow, hash: hash))
    } else {
      drop(.icmpNoFlow)
    }
    return .done
  }

  private mutating func apply(_ message: ICMPError, to id: ConnectionID, now: Instant) {
    if case .packetTooBig(let mtu) = message.kind {
      packetTooBig(id, mtu: mtu, quoted: message.quotedLength, now: now)
      return
    }
    let error = message.socketError
    if connections[id].state <= .synReceived {
      // As in Linux any error ends an attempt to connect: who connects has other addresses to try,
      // and soft errors are hard to tell from others there (RFC 5461 section 4.1). For soft ones this
      // deviates from MUST-56, for hard ones it is SHLD-26.
      fail(id, error)
    } else {
      // No error ends a synchronized connection, not even those that RFC 9293 calls hard; this
      // deviates from SHLD-26: whoever can guess a number in flight could end any (RFC 5927 section
      // 5.2). If the connection fails by itself, this is why (SHLD-25, MUST-56, MUST-47).
      changeUncommon(id) { $0.softError = error }
    }
  }

  /// An error for the SYN-ACK of a half-open connection: a hard one ends it (Linux's tcp_req_err).
  private mutating func errorArrives(_ message: ICMPError, for id: HalfOpenID) {
    guard message.sequence == halfOpen.records[id].initial else {
      drop(.icmpNoFlow)
      return
    }
    counters.errorsReceived += 1
    if message.isHard { forget(id) }
  }
}

extension Connection {
  /// Whether a number is of something sent and not acknowledged: SND.UNA =< number < SND.NXT.
  func hasInFlight(_ sequence: SequenceNumber) -> Bool {
    sequence.isWithin(
      sendUnacknowledged, sendMaximum.value &- sendUnacknowledged.value)
  }
}

extension ICMPError {
  /// Whether what it says is there to stay: the protocol or the port is unreachable, or an
  /// administrator will not have it (Linux's `fatal`).
  var isHard: Bool {
    guard case .destinationUnreachable(let code) = kind else { return false }
    return source.isIPv4
      ? [2, 3, 6, 7, 8, 9, 10, 13, 14, 15].contains(code) : [1, 4, 5, 6].contains(code)
  }

  /// What the application is told (Linux's icmp_err_convert and icmpv6_err_convert).
  var socketError: UInt16 {
    switch kind {
    case .packetTooBig: return SocketError.messageSize
    case .timeExceeded: return SocketError.hostUnreachable
    case .parameterProblem: return SocketError.protocolError
    case .destinationUnreachable(let code): return source.isIPv4 ? ipv4Error(code) : ipv6Error(code)
    }
  }

  private func ipv4Error(_ code: UInt8) -> UInt16 {
    switch code {
    case 0, 6, 9, 11: return SocketError.networkUnreachable
    case 2: return SocketError.protocolNotAvailable
    case 3: return SocketError.connectionRefused
    case 5: return SocketError.notSupported
    case 7: return SocketError.hostDown
    case 8: return SocketError.noNetwork
    default: return SocketError.hostUnreachable
    }
  }

  private func ipv6Error(_ code: UInt8) -> UInt16 {
    switch code {
    case 0: return SocketError.networkUnreachable
    case 1, 5, 6: return SocketError.accessDenied
    case 4: return SocketError.connectionRefused
    default: return SocketError.hostUnreachable
    }
  }
}
