import CShim

/// TCP_INFO of a descriptor: the engine's report, of which the kernel's structure is the beginning.
func getInformation(_ fd: Int32, _ reading: OptionReading) -> Int64 {
  guard reading.capacity >= 0 else { return failure(EINVAL) }
  var report = ConnectionReport()
  let isKnown = inquire(fd, &report)
  return withConnection(fd) { socket, _ in
    // A connection that is over, or whose engine does not answer: what this side knows.
    if !isKnown { describe(socket, &report) }
    return reading.put(&report, ConnectionReport.informationSize)
  }
}

private func describe(_ socket: SocketPointer, _ report: inout ConnectionReport) {
  report.state = tcpState(socket)
  let segment = UInt32(socket.pointee.maximumSegmentSize)
  report.sendSegmentSize = segment
  report.receiveSegmentSize = segment
  report.advertisedSegmentSize = segment
  report.pacingRate = .max
  report.maximumPacingRate = .max
}

/// The numbers of enum tcp_state of Linux.
private func tcpState(_ socket: SocketPointer) -> UInt8 {
  let flags = socket.pointee.flags
  switch socket.pointee.state {
  case .connecting: return 2
  case .connected, .queued:
    if flags.contains(.peerFinished) { return flags.contains(.writeShut) ? 9 : 8 }
    return flags.contains(.writeShut) ? 4 : 1
  case .free, .undecided, .listening, .failed: return 7
  }
}

/// IP_MTU and IPV6_MTU: the largest packet on the path of a connection.
func getPathMTU(_ fd: Int32, _ reading: OptionReading) -> Int64 {
  var report = ConnectionReport()
  guard inquire(fd, &report) else { return failure(ENOTCONN) }
  return reading.put(Int32(clamping: report.pathMTU))
}
