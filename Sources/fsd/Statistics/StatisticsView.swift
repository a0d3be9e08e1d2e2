/// The statistics as a table for people: a column for each engine and one for all.
enum StatisticsView {
  private struct Row {
    var title: String
    /// Names from the outside in.
    var path: [String]
  }

  private static let rows: [Row] = [
    Row(title: "packets in", path: ["frames_received"]),
    Row(title: "packets out", path: ["frames_sent"]),
    Row(title: "bytes in", path: ["bytes_received"]),
    Row(title: "bytes out", path: ["bytes_sent"]),
    Row(title: "connections accepted", path: ["passive_opens"]),
    Row(title: "connections opened", path: ["active_opens"]),
    Row(title: "accepts local", path: ["accepts_local"]),
    Row(title: "accepts remote", path: ["accepts_remote"]),
    Row(title: "accepts global", path: ["accepts_global"]),
    Row(title: "listen lookups local", path: ["listen_lookups_local"]),
    Row(title: "listen lookups global", path: ["listen_lookups_global"]),
    Row(title: "packets steered local", path: ["steering", "steered_local"]),
    Row(title: "packets steered remote", path: ["steering", "steered_remote"]),
    Row(title: "packets steered error", path: ["steering", "steered_error"]),
    Row(title: "packets taken over", path: ["taken_over"]),
    Row(title: "retransmissions", path: ["retransmissions"]),
    Row(title: "resets sent", path: ["resets_sent"]),
    Row(title: "wake-ups", path: ["loop", "wake_ups"]),
    Row(title: "sleeps", path: ["loop", "sleeps"]),
  ]

  /// The text. With the statistics of a moment before, rates for one second stand in the table
  /// instead of totals.
  static func render(_ statistics: JSON, since previous: JSON?) -> String {
    let engines = statistics["engines"]?.elements ?? []
    let total = statistics["total"] ?? .null
    let before = previous?["engines"]?.elements ?? []
    let span = previous.map {
      max(
        1,
        (statistics["uptime_milliseconds"]?.integer ?? 0)
          - ($0["uptime_milliseconds"]?.integer ?? 0))
    }
    let columns = engines + [total]
    let columnsBefore = before + [previous?["total"] ?? .null]
    func value(_ column: Int, _ path: [String]) -> Int64 {
      let now = number(columns[column], path)
      guard let span, column < columnsBefore.count else { return now }
      return (now - number(columnsBefore[column], path)) * 1000 / span
    }

    var table = Table()
    let unit = span == nil ? "" : "per second"
    table.add([unit] + engines.map { "engine \($0["engine"]?.integer ?? 0)" } + ["total"])
    for row in rows {
      table.add([row.title] + columns.indices.map { Table.grouped(value($0, row.path)) })
    }
    table.add(["busy"] + columns.indices.map { busyShare($0, value) })
    table.add(
      ["drops"]
        + columns.indices.map { column in
          Table.grouped(
            (columns[column]["drops"]?.members ?? []).reduce(0) {
              $0 + value(column, ["drops", $1.name])
            })
        })
    var lines = table.render()
    lines += connectionLines(total)
    let common = statistics["accepts_common"]?.integer ?? 0
    if common > 0 {
      lines.append("accepts common (by way of the kernel): \(Table.grouped(common))")
    }
    lines += filterLines(statistics["filters"])
    lines += dropLines(total)
    lines += socketLines(engines)
    return lines.joined(separator: "\n")
  }

  private static func number(_ value: JSON, _ path: [String]) -> Int64 {
    path.reduce(Optional(value)) { $0?[$1] }?.integer ?? 0
  }

  /// Time with work as a part of all time, sleep included.
  private static func busyShare(
    _ column: Int, _ value: (Int, [String]) -> Int64
  ) -> String {
    let busy = value(column, ["loop", "busy_nanoseconds"])
    let all =
      busy + value(column, ["loop", "idle_nanoseconds"])
      + value(column, ["loop", "sleep_nanoseconds"])
    let tenths = all == 0 ? 0 : busy / max(1, all / 1000)
    return "\(tenths / 10).\(tenths % 10)%"
  }

  private static func connectionLines(_ total: JSON) -> [String] {
    let present = (total["connections"]?.members ?? []).filter { $0.value.integer > 0 }
    let text = present.map { "\($0.name) \(Table.grouped($0.value.integer))" }
    return ["", "connections: " + (text.isEmpty ? "none" : text.joined(separator: ", "))]
  }

  private static func filterLines(_ filters: JSON?) -> [String] {
    (filters?.members ?? []).compactMap { interface in
      guard let hits = interface.value["hits"]?.integer else { return nil }
      return "\(interface.name): \(Table.grouped(hits)) filter hits, "
        + "\(Table.grouped(interface.value["misses"]?.integer ?? 0)) misses"
    }
  }

  private static func dropLines(_ total: JSON) -> [String] {
    let present = (total["drops"]?.members ?? []).filter { $0.value.integer > 0 }
    guard !present.isEmpty else { return [] }
    let text = present.map { "\($0.name) \(Table.grouped($0.value.integer))" }
    return ["drops: " + text.joined(separator: ", ")]
  }

  private static func socketLines(_ engines: [JSON]) -> [String] {
    let sockets = engines.flatMap { $0["sockets"]?.elements ?? [] }
    return sockets.map { socket in
      let losses = ["receive_dropped", "receive_ring_full", "fill_ring_empty", "kick_dropped"]
        .filter { (socket[$0]?.integer ?? 0) > 0 }
        .map { "\($0) \(Table.grouped(socket[$0]?.integer ?? 0))" }
      return "\(socket["interface"]?.text ?? "") queue \(socket["queue"]?.integer ?? 0): "
        + "\(socket["mode"]?.text ?? ""), "
        + "\(Table.grouped(socket["received_packets"]?.integer ?? 0)) in, "
        + "\(Table.grouped(socket["transmitted_packets"]?.integer ?? 0)) out"
        + (losses.isEmpty ? "" : ", " + losses.joined(separator: ", "))
    }
  }
}
