extension NetworkInterface {
  private var pollDirectory: String { "/sys/class/net/\(name)" }

  /// Lets packets gather: after NAPI has found some the kernel looks again when the time is over, and is not
  /// interrupted meanwhile (Documentation/networking/napi.rst, software IRQ coalescing). What was before is recorded.
  ///
  /// Virtual links have no other way. A card has its own (`ethtool -C`), and this one works with it, too.
  public func coalesceInterrupts(
    microseconds: Int, journal: RestoreJournal
  ) throws(DeviceError) {
    // Without a time there would be no second look.
    try journal.replaceFile("\(pollDirectory)/gro_flush_timeout", with: "\(microseconds * 1000)")
    // After one look in vain, interrupts are back.
    try journal.replaceFile(
      "\(pollDirectory)/napi_defer_hard_irqs", with: microseconds > 0 ? "1" : "0")
  }

  /// How long packets gather now, in microseconds, whoever has told the kernel so; 0: not at all.
  public var coalescedMicroseconds: Int {
    func number(_ file: String) -> Int {
      (try? TextFile.readLine("\(pollDirectory)/\(file)")).flatMap { Int($0) } ?? 0
    }
    return number("napi_defer_hard_irqs") > 0 ? number("gro_flush_timeout") / 1000 : 0
  }
}
