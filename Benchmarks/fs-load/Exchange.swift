import Foundation
import Laboratory

/// A request and the answer that it must get, byte for byte but for the date.
struct Exchange {
  let request: [UInt8]
  /// What is answered to a proxy that forwards the request.
  let response: [UInt8]
  /// Nil until the first answer of an HTTP server has been read and understood.
  private(set) var answer: Answer?
  private let bodyLength: Int
  private var firstAnswer: [UInt8] = []

  /// The bytes of an answer, of which some vary.
  @safe
  struct Answer {
    let count: Int
    private let bytes: UnsafeMutablePointer<UInt8>
    private let varying: Range<Int>

    init(_ bytes: [UInt8], varying: Range<Int> = 0..<0) {
      count = bytes.count
      self.varying = varying
      unsafe self.bytes = .allocate(capacity: max(count, 1))
      for (position, byte) in bytes.enumerated() { unsafe self.bytes[position] = byte }
    }

    /// Whether received bytes are those from `position` on, which are there.
    @inline(__always)
    func matches(_ received: UnsafeRawBufferPointer, at position: Int) -> Bool {
      let end = position + received.count
      return unsafe isEqual(received, position, position, min(end, varying.lowerBound))
        && isEqual(received, position, max(position, varying.upperBound), end)
    }

    @inline(__always)
    private func isEqual(
      _ received: UnsafeRawBufferPointer, _ position: Int, _ from: Int, _ to: Int
    ) -> Bool {
      guard from < to, let base = received.baseAddress else { return true }
      return unsafe memcmp(base + (from - position), bytes + from, to - from) == 0
    }
  }

  init(_ order: LoadOrder) {
    bodyLength = order.size
    let value = [UInt8](repeating: UInt8(ascii: "x"), count: order.size)
    response = Array("HTTP/1.1 200 OK\r\nContent-Length: \(order.size)\r\n\r\n".utf8) + value
    switch order.kind {
    case .close, .keepAlive:
      let close = order.kind == .close ? "Connection: close\r\n" : ""
      request = Array("GET \(order.path) HTTP/1.1\r\nHost: load\r\n\(close)\r\n".utf8)
    case .redisGet:
      request = Self.command(["GET", "fs-load"]).repeated(order.pipeline)
      answer = Answer(
        (Array("$\(value.count)\r\n".utf8) + value + [13, 10]).repeated(order.pipeline))
    case .redisSet:
      let text = String(decoding: value, as: UTF8.self)
      request = Self.command(["SET", "fs-load", text]).repeated(order.pipeline)
      answer = Answer(Array("+OK\r\n".utf8).repeated(order.pipeline))
    case .echo, .echoClose:
      request = value.repeated(order.pipeline)
      answer = Answer(request)
    }
  }

  /// What stands in a send chunk.
  var payload: [UInt8] {
    guard request.count <= ChannelEnd.responseOffset else { return request }
    let gap = [UInt8](repeating: 0, count: ChannelEnd.responseOffset - request.count)
    return request + gap + response
  }

  /// A command of redis: an array of strings.
  private static func command(_ words: [String]) -> [UInt8] {
    Array("*\(words.count)\r\n".utf8)
      + words.flatMap { Array("$\($0.utf8.count)\r\n\($0)\r\n".utf8) }
  }

  /// Takes bytes of the first answer of an HTTP server. True when it is complete; it throws when it
  /// is not what was asked for.
  mutating func learn(_ bytes: UnsafeRawBufferPointer) throws -> Bool {
    unsafe firstAnswer.append(contentsOf: bytes)
    let text = String(decoding: firstAnswer, as: UTF8.self)
    guard let end = text.range(of: "\r\n\r\n") else { return false }
    let header = text[..<end.lowerBound].components(separatedBy: "\r\n")
    guard header[0].hasPrefix("HTTP/1.1 200 ") else {
      throw LaboratoryError("the server answers \(header[0])")
    }
    let length = header.first { $0.lowercased().hasPrefix("content-length:") }
      .flatMap { Int($0.drop { $0 != ":" }.dropFirst().trimmingCharacters(in: .whitespaces)) }
    guard length == bodyLength else {
      throw LaboratoryError("the server sends \(length ?? -1) bytes, not \(bodyLength)")
    }
    let headerLength = text[..<end.upperBound].utf8.count
    guard firstAnswer.count >= headerLength + bodyLength else { return false }
    let date = text.range(
      of: "(?<=\r\n)date: [^\r]*", options: [.regularExpression, .caseInsensitive])
    let varying = date.map {
      text[..<$0.lowerBound].utf8.count..<text[..<$0.upperBound].utf8.count
    }
    answer = Answer(firstAnswer, varying: varying ?? 0..<0)
    return true
  }
}

extension [UInt8] {
  fileprivate func repeated(_ count: Int) -> [UInt8] {
    Array(repeatElement(self, count: count).joined())
  }
}
