/// The status for people.
enum StatusView {
  /// The text.
  static func render(_ status: JSON) -> String {
    let seconds = (status["uptime_milliseconds"]?.integer ?? 0) / 1000
    var lines = [
      "fsd, process \(status["process"]?.integer ?? 0), up \(duration(seconds)),"
        + " in \(status["runtime_dir"]?.text ?? "")"
    ]
    lines.append("interfaces:")
    for entry in status["interfaces"]?.elements ?? [] { lines.append("  " + interface(entry)) }
    lines.append("engines (\(status["placement"]?.text ?? "")):")
    for engine in status["engines"]?.elements ?? [] {
      let channels = engine["channels"]?.integer ?? 0
      lines.append(
        "  \(engine["engine"]?.integer ?? 0) on processor \(engine["processor"]?.integer ?? 0), "
          + "\(channels) \(channels == 1 ? "channel" : "channels")")
    }
    lines += section("listeners", status["listeners"], listener)
    lines += section("applications", status["applications"], application)
    let special = (status["ports"]?.elements ?? []).filter { $0["treatment"]?.text != "all" }
    if !special.isEmpty { lines += section("ports in transition", .array(special), port) }
    return lines.joined(separator: "\n")
  }

  private static func section(
    _ title: String, _ list: JSON?, _ line: (JSON) -> String
  ) -> [String] {
    let elements = list?.elements ?? []
    return elements.isEmpty ? ["\(title): none"] : ["\(title):"] + elements.map { "  " + line($0) }
  }

  private static func interface(_ entry: JSON) -> String {
    let queues = entry["queues"]?.integer ?? 0
    let addresses = entry["addresses"]?.elements.map(\.text) ?? []
    return "\(entry["name"]?.text ?? ""): \(queues) \(queues == 1 ? "queue" : "queues"), "
      + "\(entry["mode"]?.text ?? "") mode, mtu \(entry["mtu"]?.integer ?? 0), "
      + (addresses.isEmpty ? "no address" : addresses.joined(separator: " "))
  }

  private static func listener(_ entry: JSON) -> String {
    let address = entry["address"]?.text ?? ""
    let port = entry["port"]?.integer ?? 0
    let processes = entry["processes"]?.elements.map { String($0.integer) } ?? []
    let acceptors = entry["acceptors"]?.elements.map { acceptor in
      "\(acceptor["process"]?.integer ?? 0)@engine\(acceptor["engine"]?.integer ?? 0)"
    }
    return (address.contains(":") ? "[\(address)]" : address) + ":\(port), processes "
      + processes.joined(separator: " ") + ", acceptors "
      + ((acceptors ?? []).isEmpty ? "none" : (acceptors ?? []).joined(separator: " "))
  }

  private static func application(_ entry: JSON) -> String {
    let engines = entry["channels"]?.elements.map { String($0.integer) } ?? []
    return "\(entry["process"]?.integer ?? 0) \(entry["name"]?.text ?? "")"
      + (engines.isEmpty
        ? ", no channel" : ", channels on engines \(engines.joined(separator: " "))")
  }

  private static func port(_ entry: JSON) -> String {
    let treatment =
      entry["treatment"]?.text == "draining"
      ? "closed, its last connections end" : "shared with connections of the kernel"
    return "\(entry["address"]?.text ?? "") port \(entry["port"]?.integer ?? 0): \(treatment)"
  }

  private static func duration(_ seconds: Int64) -> String {
    seconds < 120 ? "\(seconds) s" : "\(seconds / 60) min"
  }
}
