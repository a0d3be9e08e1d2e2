import CShim

// TCP_CONGESTION: the names of algorithms. Engines have their own, whatever modules the kernel has.

/// What the kernel allows a name to have, its zero included.
private var nameCapacity: Int { 16 }

/// A name as setsockopt and getsockopt have it, filled up with zeros.
private typealias AlgorithmName = InlineArray<16, UInt8>

/// TCP_CONGESTION of an engine's connection: ENOENT for an algorithm that engines do not have.
func setCongestionControl(_ socket: SocketPointer, _ setting: OptionSetting) -> Int64 {
  guard setting.length >= 1 else { return failure(EINVAL) }
  guard let value = setting.value else { return failure(EFAULT) }
  var length = 0
  let limit = min(Int(setting.length), nameCapacity - 1)
  while length < limit, value.load(fromByteOffset: length, as: UInt8.self) != 0 { length += 1 }
  let name = UnsafeRawBufferPointer(start: value, count: length)
  guard let algorithm = CongestionAlgorithm(name: name) else { return failure(ENOENT) }
  socket.keep(KeptOption(FS_OPTION_CONGESTION), Int32(algorithm.rawValue))
  tellEngine(socket, KeptOption(FS_OPTION_CONGESTION))
  return 0
}

/// Answers TCP_CONGESTION of a descriptor: without a choice of its own a connection has what the
/// daemon was started with.
func getCongestionControl(_ fd: Int32, _ reading: OptionReading) -> Int64 {
  var number: Int32?
  let known = withConnection(fd) { socket, _ in
    number = socket.options.value(KeptOption(FS_OPTION_CONGESTION))
    return 0
  }
  guard known == 0 else { return known }
  var report = ConnectionReport()
  if number == nil, inquire(fd, &report) { number = Int32(report.congestionAlgorithm) }
  return put(UInt8(truncatingIfNeeded: number ?? 0), reading)
}

/// Answers with the name of an algorithm.
private func put(_ number: UInt8, _ reading: OptionReading) -> Int64 {
  let algorithm = CongestionAlgorithm(rawValue: number) ?? .cubic
  var name = AlgorithmName(repeating: 0)
  for index in 0..<min(algorithm.name.utf8CodeUnitCount, nameCapacity - 1) {
    name[index] = algorithm.name.utf8Start[index]
  }
  return reading.put(&name, nameCapacity)
}

extension UnsafeMutablePointer<Socket> {
  /// Remembers the algorithm of a kernel socket. One that engines do not have is for the kernel.
  func keepCongestionControl(of fd: Int32) {
    var name = AlgorithmName(repeating: 0)
    var length = socklen_t(nameCapacity)
    guard fs_sys_getsockopt(fd, SOL_TCP, TCP_CONGESTION, &name, &length) == 0 else { return }
    var count = 0
    while count < nameCapacity, name[count] != 0 { count += 1 }
    let algorithm = withUnsafeBytes(of: &name) { bytes in
      CongestionAlgorithm(name: UnsafeRawBufferPointer(rebasing: bytes[..<count]))
    }
    guard let algorithm else {
      pointee.flags.insert(.kernelOnly)
      return
    }
    keep(KeptOption(FS_OPTION_CONGESTION), Int32(algorithm.rawValue))
  }
}
