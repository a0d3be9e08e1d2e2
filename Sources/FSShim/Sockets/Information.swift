import CShim

/// TCP_INFO, as far as this side knows it: the state, segment sizes, what is unacknowledged, and the
/// window; the rest is zero.
func getInformation(_ socket: SocketPointer, _ reading: OptionReading) -> Int64 {
  var information = tcp_info()
  information.tcpi_state = tcpState(socket)
  let segment = UInt32(socket.pointee.maximumSegmentSize)
  information.tcpi_snd_mss = segment
  information.tcpi_rcv_mss = segment
  information.tcpi_advmss = segment
  information.tcpi_pmtu = socket.pathMTU
  if socket.isOurs, socket.pointee.channel >= 0, segment > 0 {
    let channel = ChannelTable.at(socket.pointee.channel)
    let sent = channel.pointee.slots[Int(socket.pointee.slot)].sent.bytes
    information.tcpi_unacked = (sent + segment - 1) / segment
  }
  return reading.put(&information, MemoryLayout<tcp_info>.size)
}

extension UnsafeMutablePointer<Socket> {
  /// Bytes of the largest packet on the path, as far as the segment size tells; 0 if it does not.
  var pathMTU: UInt32 {
    let segment = UInt32(pointee.maximumSegmentSize)
    let isIPv4 = pointee.remoteHigh == 0 && pointee.remoteLow & 0xffff_ffff == 0xffff_0000
    return segment == 0 ? 0 : segment + (isIPv4 ? 40 : 60)
  }
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
