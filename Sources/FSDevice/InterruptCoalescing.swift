/// How long the kernel lets packets of an interface gather: after NAPI has found some it looks again when the time
/// is over, and is not interrupted meanwhile (Documentation/networking/napi.rst, software IRQ coalescing).
///
/// Virtual links have no other way. A card has its own (`ethtool -C`), and this one works with it, too.
public struct InterruptCoalescing {
  private let directory: String

  /// Of an interface. `root` is put before /sys.
  public init(interface: String, root: String = "") {
    directory = "\(root)/sys/class/net/\(interface)"
  }

  /// Sets the time, recording what was before.
  public func set(microseconds: Int, journal: RestoreJournal) throws(DeviceError) {
    // Without a time there would be no second look.
    try journal.replaceFile("\(directory)/gro_flush_timeout", with: "\(microseconds * 1000)")
    // After one look in vain, interrupts are back.
    try journal.replaceFile("\(directory)/napi_defer_hard_irqs", with: microseconds > 0 ? "1" : "0")
  }
}
