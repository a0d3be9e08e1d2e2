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
    for entry in status["interfaces"]?.elements ?? [] {
      lines.append("  " + interface(entry))
      lines += steering(entry["steering"]).map { "    " + $0 }
    }
    lines.append(
      "engines (\(status["placement"]?.text ?? ""): \(status["placement_reason"]?.text ?? "")):")
    for engine in status["engines"]?.elements ?? [] {
      let channels = engine["channels"]?.integer ?? 0
      lines.append(
        "  \(engine["engine"]?.integer ?? 0) on processor \(engine["processor"]?.integer ?? 0)"
          + "\(place(engine)), "
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
      + gathering(entry["coalesce_microseconds"]?.integer ?? 0)
      + (addresses.isEmpty ? "no address" : addresses.joined(separator: " "))
  }

  private static func gathering(_ microseconds: Int64) -> String {
    microseconds > 0 ? "packets gather for \(microseconds) us, " : ""
  }

  /// The other hyper-threads of its core, and the node.
  private static func place(_ engine: JSON) -> String {
    let others = (engine["siblings"]?.elements ?? []).map(\.integer)
      .filter { $0 != engine["processor"]?.integer }
    return others.isEmpty
      ? ""
      : " beside \(others.map(String.init).joined(separator: ",")), "
        + "node \(engine["node"]?.integer ?? 0)"
  }

  /// How packets find their engines, as far as there are several.
  private static func steering(_ entry: JSON?) -> [String] {
    guard let entry, let passive = entry["passive"]?.text, passive != "single", passive != ""
    else { return [] }
    let words = [
      "hash": "by the card's hash", "software": "by the engines' own hash",
      "arrival": "where they arrive", "flow_director": "by flow rules of the card",
    ]
    var lines = ["connections from peers: \(words[passive] ?? passive)"]
    for (name, key, why) in [
      ("IPv4", "active_ipv4", "no_rules_ipv4"), ("IPv6", "active_ipv6", "no_rules_ipv6"),
    ] {
      let method = entry[key]?.text ?? ""
      let text = method == "software" ? "handed over by the engines" : words[method] ?? method
      let reason = entry[why]?.text ?? ""
      lines.append("connections to peers, \(name): \(text)" + (reason == "" ? "" : " (\(reason))"))
    }
    let rules = entry["flow_rules"]?.integer ?? 0
    if rules > 0 {
      lines.append(
        "\(rules) flow rules, \(entry["flow_rules_missing"]?.integer ?? 0) missing, "
          + "\(entry["flow_rules_restored"]?.integer ?? 0) inserted again")
    }
    if entry["hash_changed"] == .bool(true) {
      lines.append("the card's hash is another than at the start: the engines hand over")
    }
    return lines
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
