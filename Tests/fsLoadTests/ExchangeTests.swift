import Laboratory
import Testing

@testable import fs_load

/// What the generator takes for the right answer.
struct ExchangeTests {
  private static func response(date: String, body: String = "xxxx", status: String = "200 OK")
    -> String
  {
    "HTTP/1.1 \(status)\r\nServer: test\r\nDate: \(date)\r\nContent-Length: \(body.utf8.count)\r\n"
      + "Connection: close\r\n\r\n\(body)"
  }

  private static let monday = "Mon, 23 Nov 2026 10:00:00 GMT"
  private static let tuesday = "Tue, 24 Nov 2026 11:11:11 GMT"

  private func learnt(_ text: String, pieces: Int = 1) throws -> Exchange {
    var order = LoadOrder(interface: "eth0", target: "10.0.0.1:80", kind: .close)
    order.size = 4
    var exchange = Exchange(order)
    let bytes = Array(text.utf8)
    let length = (bytes.count + pieces - 1) / pieces
    for start in stride(from: 0, to: bytes.count, by: length) {
      let piece = Array(bytes[start..<min(start + length, bytes.count)])
      let isComplete = try piece.withUnsafeBytes { try exchange.learn($0) }
      #expect(isComplete == (start + piece.count == bytes.count))
    }
    return exchange
  }

  private func matches(_ exchange: Exchange, _ text: String, at position: Int = 0) -> Bool {
    Array(text.utf8).withUnsafeBytes { exchange.answer?.matches($0, at: position) ?? false }
  }

  @Test("the date may differ, in whatever pieces an answer comes", arguments: [1, 2, 7])
  func dateVaries(pieces: Int) throws {
    let exchange = try learnt(Self.response(date: Self.monday), pieces: pieces)
    let later = Self.response(date: Self.tuesday)
    #expect(matches(exchange, later))
    for cut in 1..<later.utf8.count {
      let (first, second) = (String(later.prefix(cut)), String(later.dropFirst(cut)))
      guard first.utf8.count + second.utf8.count == later.utf8.count else { continue }
      #expect(matches(exchange, first))
      #expect(matches(exchange, second, at: first.utf8.count))
    }
  }

  @Test("no other byte may differ")
  func nothingElseVaries() throws {
    let exchange = try learnt(Self.response(date: Self.monday))
    #expect(!matches(exchange, Self.response(date: Self.monday, body: "xxxy")))
    #expect(!matches(exchange, Self.response(date: Self.monday, status: "404 No")))
    #expect(!matches(exchange, Self.response(date: Self.monday).replacing("close", with: "alive")))
  }

  @Test("an answer of another status or length is refused")
  func refusals() {
    #expect(throws: LaboratoryError.self) {
      try learnt(Self.response(date: Self.monday, status: "503 Service Unavailable"))
    }
    #expect(throws: LaboratoryError.self) {
      try learnt(Self.response(date: Self.monday, body: "xxxxx"))
    }
  }

  @Test("16 commands of redis at once have 16 answers")
  func pipeline() {
    var order = LoadOrder(interface: "eth0", target: "10.0.0.1:80", kind: .redisGet)
    order.size = 3
    order.pipeline = 16
    let exchange = Exchange(order)
    let command = "*2\r\n$3\r\nGET\r\n$7\r\nfs-load\r\n"
    #expect(exchange.request == Array(String(repeating: command, count: 16).utf8))
    #expect(matches(exchange, String(repeating: "$3\r\nxxx\r\n", count: 16)))
    #expect(!matches(exchange, String(repeating: "$3\r\nxxx\r\n", count: 15) + "$3\r\nxxy\r\n"))
  }
}
