import CLaboratory
import Foundation

/// A TCP connection of the calling thread's namespace, with blocking calls that time out.
public final class TCPStream: Sendable {
  private let descriptor: Int32

  /// Connects to a server.
  public init(to address: String, port: Int, timeoutSeconds: Int = 10) throws {
    let remote = try SocketAddress(address, port: port)
    descriptor = socket(remote.family, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { throw Self.failure("socket") }
    var limit = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      unsafe setsockopt(
        descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
    }
    guard unsafe remote.withPointer({ unsafe connect(descriptor, $0, $1) }) == 0 else {
      let failure = Self.failure("connect to \(address) port \(port)")
      close(descriptor)
      throw failure
    }
  }

  private init(descriptor: Int32) {
    self.descriptor = descriptor
  }

  deinit {
    close(descriptor)
  }

  /// Sends everything.
  public func send(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = unsafe bytes.withUnsafeBytes { buffer in
        unsafe Foundation.send(
          descriptor, UnsafeRawBufferPointer(rebasing: buffer[sent...]).baseAddress,
          buffer.count - sent, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Self.failure("send") }
      sent += count
    }
  }

  /// Receives what is there, at most `limit` bytes; empty when the peer has finished.
  public func receive(limit: Int = 65_536) throws -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: limit)
    let count = unsafe recv(descriptor, &buffer, limit, 0)
    guard count >= 0 else { throw Self.failure("recv") }
    return Array(buffer.prefix(count))
  }

  /// Receives until the peer has finished.
  public func receiveAll() throws -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      let more = try receive()
      if more.isEmpty { return bytes }
      bytes += more
    }
  }

  /// Has nothing more to send.
  public func finish() throws {
    guard shutdown(descriptor, Int32(SHUT_WR)) == 0 else { throw Self.failure("shutdown") }
  }

  private static func failure(_ call: String) -> LaboratoryError {
    LaboratoryError(unsafe "\(call): \(String(cString: strerror(errno)))")
  }
}

extension NetworkHost {
  /// Opens `count` connections to a server.
  public func connect(to address: String, port: Int, count: Int) throws -> [TCPStream] {
    try perform { try (0..<count).map { _ in try TCPStream(to: address, port: port) } }
  }

  /// Opens a connection to a server.
  public func connect(to address: String, port: Int) throws -> TCPStream {
    try perform { try TCPStream(to: address, port: port) }
  }

  /// Opens `count` connections to an HTTP server, holds all of them open while `check` runs, then
  /// asks on each for `path`, and returns how many were answered with exactly `expected`.
  public func fetchConcurrently(
    count: Int, address: String, port: Int, path: String, expected: [UInt8],
    whileOpen check: () throws -> Void = {}
  ) throws -> Int {
    let streams = try connect(to: address, port: port, count: count)
    try check()
    let request = Array("GET \(path) HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n".utf8)
    for stream in streams { try stream.send(request) }
    return try streams.count { stream in
      let response = try stream.receiveAll()
      return response.starts(with: "HTTP/1.1 200".utf8)
        && response.suffix(expected.count).elementsEqual(expected)
        && response.dropLast(expected.count).suffix(4).elementsEqual([13, 10, 13, 10])
    }
  }
}
