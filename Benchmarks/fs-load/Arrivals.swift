import Foundation

/// The moments when requests are due: a Poisson process of fixed rate, the same in every run.
///
/// It does not wait for answers. A request that cannot be begun when it is due keeps its moment, and
/// its latency counts from there.
struct Arrivals {
  private let meanNanoseconds: Double
  private var state: UInt64 = 0x9e37_79b9_7f4a_7c15
  private var exact: Double
  /// When the next request is due, in nanoseconds.
  private(set) var next: UInt64

  init(rate: Double, from start: UInt64) {
    meanNanoseconds = 1e9 / rate
    exact = Double(start)
    next = start
    advance()
  }

  /// Goes on to the next request.
  @inline(__always)
  mutating func advance() {
    // xorshift64*
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    let bits = state &* 0x2545_f491_4f6c_dd1d
    // From the interval (0, 1].
    let uniform = Double((bits >> 11) + 1) * 0x1p-53
    exact -= log(uniform) * meanNanoseconds
    next = UInt64(exact)
  }
}
