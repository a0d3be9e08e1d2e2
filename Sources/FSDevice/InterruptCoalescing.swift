extension NetworkInterface {
  /// Lets packets gather: after NAPI has found some the kernel looks again when the time is over, and is not
  /// interrupted meanwhile (Documentation/networking/napi.rst, software IRQ coalescing). What was before is recorded.
  ///
  /// Virtual links have no other way. A card has its own (`ethtool -C`), and this one works with it, too.
  public func coalesceInterrupts(
    microseconds: Int, journal: RestoreJournal
  ) throws(DeviceError) {
    let directory = "/sys/class/net/\(name)"
    // Without a time there would be no second look.
    try journal.replaceFile("\(directory)/gro_flush_timeout", with: "\(microseconds * 1000)")
    // After one look in vain, interrupts are back.
    try journal.replaceFile("\(directory)/napi_defer_hard_irqs", with: microseconds > 0 ? "1" : "0")
  }
}
