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

/// The values of the options of a socket that are numbers. They stand beside the table of sockets, in memory that
/// most sockets never touch.
struct OptionNumbers {
  fileprivate var numbers: InlineArray<26, Int32>
  /// SO_MAX_PACING_RATE, bytes per second, once it was set: the one that may need 64 bits.
  var pacingRate: UInt64
}

/// The integer options that were set on a socket. Those that were not are as on a new socket of the
/// kernel: every descriptor of ours is one, so the kernel itself answers for them.
struct SocketOptions {
  fileprivate let socket: SocketPointer

  /// Which were set, one bit each.
  @inline(__always)
  var marks: UInt64 { socket.pointee.optionMarks }

  private var values: UnsafeMutablePointer<OptionNumbers> {
    process.pointee.optionNumbers + Int(SocketTable.index(of: socket))
  }

  /// SO_MAX_PACING_RATE, if it was set.
  var pacingRate: UInt64 {
    get { values.pointee.pacingRate }
    nonmutating set { values.pointee.pacingRate = newValue }
  }

  /// The value an option was set to.
  @inline(__always)
  func value(_ option: KeptOption) -> Int32? {
    guard marks >> UInt64(option.number) & 1 != 0 else { return nil }
    if option.isSwitch {
      return Int32(socket.pointee.optionSwitches >> UInt64(option.number) & 1)
    }
    return values.pointee.numbers[option.number - FS_OPTION_SWITCHES]
  }

  /// Whether an option that can be on or off was switched on.
  @inline(__always)
  func isOn(_ number: Int) -> Bool {
    (marks & socket.pointee.optionSwitches) >> UInt64(number) & 1 != 0
  }

  /// Remembers the value of an option.
  @inline(__always)
  func set(_ option: KeptOption, _ value: Int32) {
    let mark: UInt64 = 1 << UInt64(option.number)
    if !option.isSwitch {
      values.pointee.numbers[option.number - FS_OPTION_SWITCHES] = value
    } else if value != 0 {
      socket.pointee.optionSwitches |= mark
    } else {
      socket.pointee.optionSwitches &= ~mark
    }
    socket.pointee.optionMarks |= mark
  }

  /// An option is as on a new socket again.
  func forget(_ option: KeptOption) {
    socket.pointee.optionMarks &= ~(1 << UInt64(option.number))
  }

  /// Nothing was set.
  @inline(__always)
  func removeAll() { socket.pointee.optionMarks = 0 }

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

  /// Takes what a connection has from its listener, as Linux has it.
  func inherit(from listener: Self) {
    socket.pointee.optionMarks = listener.marks
    socket.pointee.optionSwitches = listener.socket.pointee.optionSwitches
    if marks >> UInt64(FS_OPTION_SWITCHES) != 0 { values.pointee = listener.values.pointee }
    forEach { option, _ in
      if option.has(FS_NOT_INHERITED) { forget(option) }
    }
  }
}

extension UnsafeMutablePointer<Socket> {
  /// Integer options that were set.
  @inline(__always)
  var options: SocketOptions { SocketOptions(socket: self) }
}
