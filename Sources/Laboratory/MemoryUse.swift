import Foundation

extension NetworkHost {
  /// Bytes of memory that the programs of this host use, what they share counted once, and that the
  /// kernel of the machine has given to its own objects, such as sockets.
  public func memoryUse() throws -> Int {
    let pids = try laboratory.run(["ip", "netns", "pids", name]).split(
      whereSeparator: \.isWhitespace)
    let shares = pids.map { Self.kilobytes("Pss", in: "/proc/\($0)/smaps_rollup") }
    let slab = Self.kilobytes("Slab", in: "/proc/meminfo")
    return (shares.reduce(0, +) + slab) * 1024
  }

  /// A field of a file with lines such as `Pss: 12 kB`; 0 where there is none.
  private static func kilobytes(_ field: String, in path: String) -> Int {
    let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("\(field):") }
    return line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
  }
}
