import CShim

/// An integer option that the shim keeps for its connections: a row of the list in CShimOptions.h.
struct KeptOption {
  /// Its number, FS_OPTION_….
  let number: Int

  @inline(__always)
  init(_ number: Int) { self.number = number }

  /// The option that setsockopt(2) means; nil if it is none that is kept.
  @inline(__always)
  init?(level: Int32, name: Int32) {
    let found = fs_option_find(level, name)
    guard found >= 0 else { return nil }
    number = Int(found)
  }

  @inline(__always)
  private var row: UnsafePointer<fs_option> { fs_option_at(Int32(truncatingIfNeeded: number)) }

  var level: Int32 { row.pointee.level }
  var name: Int32 { row.pointee.name }
  /// As `Command.length` has it.
  var key: UInt32 { UInt32(bitPattern: level) << 16 | UInt32(bitPattern: name) }
  /// FS_CHECK_….
  var check: Int { Int(row.pointee.check) }
  /// The values it may have, for FS_CHECK_RANGE.
  var range: ClosedRange<Int32> { row.pointee.low...row.pointee.high }
  /// Whether it can only be on or off.
  var isSwitch: Bool { number < FS_OPTION_SWITCHES }

  /// Whether one of FS_TO_ENGINE, FS_NOT_INHERITED, ... is said of it.
  @inline(__always)
  func has(_ property: Int) -> Bool { Int(row.pointee.properties) & property != 0 }

  @inline(__always)
  static func == (a: Self, b: Int) -> Bool { a.number == b }
}

/// The integer options that were set on a socket. Those that were not are as on a new socket of the
/// kernel: every descriptor of ours is one, so the kernel itself answers for them.
struct SocketOptions {
  /// Which were set, one bit each.
  private(set) var marks: UInt64 = 0
  private var switches: UInt64 = 0
  private var numbers: InlineArray<26, Int32> = InlineArray(repeating: 0)
  /// SO_MAX_PACING_RATE, bytes per second, once it was set: the one that may need 64 bits.
  var pacingRate: UInt64 = 0

  /// The value an option was set to.
  @inline(__always)
  func value(_ option: KeptOption) -> Int32? {
    guard marks >> UInt64(option.number) & 1 != 0 else { return nil }
    if option.isSwitch { return Int32(switches >> UInt64(option.number) & 1) }
    return numbers[option.number - FS_OPTION_SWITCHES]
  }

  /// Whether an option that can be on or off was switched on.
  @inline(__always)
  func isOn(_ number: Int) -> Bool { (marks & switches) >> UInt64(number) & 1 != 0 }

  /// Remembers the value of an option.
  @inline(__always)
  mutating func set(_ option: KeptOption, _ value: Int32) {
    let mark: UInt64 = 1 << UInt64(option.number)
    if !option.isSwitch {
      numbers[option.number - FS_OPTION_SWITCHES] = value
    } else if value != 0 {
      switches |= mark
    } else {
      switches &= ~mark
    }
    marks |= mark
  }

  /// An option is as on a new socket again.
  mutating func forget(_ option: KeptOption) { marks &= ~(1 << UInt64(option.number)) }

  /// Nothing was set.
  @inline(__always)
  mutating func removeAll() { marks = 0 }

  /// Calls `body` with every option that was set.
  @inline(__always)
  func forEach(_ body: (KeptOption, Int32) -> Void) {
    var left = marks
    while left != 0 {
      let option = KeptOption(left.trailingZeroBitCount)
      left &= left &- 1
      if let value = value(option) { body(option, value) }
    }
  }

  /// What a connection has from its listener, as Linux has it.
  func inherited() -> Self {
    var result = self
    forEach { option, _ in
      if option.has(FS_NOT_INHERITED) { result.forget(option) }
    }
    return result
  }
}
