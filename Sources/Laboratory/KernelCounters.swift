import Foundation

/// The TCP counters of the kernel in a namespace, as /proc/net/snmp and /proc/net/netstat list them.
public struct KernelCounters: Sendable {
  private var values: [String: Int] = [:]

  /// The value of a counter, named as in the files: `InSegs`, `ListenOverflows`.
  public subscript(name: String) -> Int { values[name] ?? 0 }

  /// What has been counted since `earlier`.
  public func since(_ earlier: KernelCounters) -> KernelCounters {
    var difference = KernelCounters()
    difference.values = values.reduce(into: [:]) { $0[$1.key] = $1.value - earlier[$1.key] }
    return difference
  }

  fileprivate mutating func add(_ text: String, protocols: Set<String>) {
    let lines = text.split(separator: "\n").map { $0.split(separator: " ") }
    for (names, numbers) in zip(lines, lines.dropFirst())
    where names.first == numbers.first && names.count == numbers.count {
      guard let name = names.first?.dropLast(), protocols.contains(String(name)) else { continue }
      for (key, value) in zip(names, numbers).dropFirst() {
        if let number = Int(value) { values[String(key)] = number }
      }
    }
  }
}

extension NetworkHost {
  /// The kernel's TCP counters here.
  public func kernelCounters() throws -> KernelCounters {
    try perform {
      var counters = KernelCounters()
      counters.add(
        try String(contentsOfFile: "/proc/thread-self/net/snmp", encoding: .utf8),
        protocols: ["Tcp"])
      counters.add(
        try String(contentsOfFile: "/proc/thread-self/net/netstat", encoding: .utf8),
        protocols: ["TcpExt"])
      return counters
    }
  }

  /// The TCP ports with a listening socket of the kernel.
  public func listeningPorts() throws -> Set<Int> {
    try perform {
      var ports: Set<Int> = []
      for file in ["tcp", "tcp6"] {
        let text = try String(contentsOfFile: "/proc/thread-self/net/\(file)", encoding: .utf8)
        for line in text.split(separator: "\n").dropFirst() {
          let fields = line.split(separator: " ")
          guard fields.count > 3, fields[3] == "0A", let port = fields[1].split(separator: ":").last
          else { continue }
          if let number = Int(port, radix: 16) { ports.insert(number) }
        }
      }
      return ports
    }
  }
}
