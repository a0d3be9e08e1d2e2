import CShim
import Synchronization

/// Limits of one process.
enum Limits {
  /// Sockets, undecided, listening and carried by engines, at the same time.
  static var sockets: Int { 1 << 20 }
  /// Channels, also those whose daemon or parent process is gone.
  static var channels: Int { 256 }
  /// Channels that a process opens by itself; more threads than that share them.
  static var ownChannels: Int { 128 }
  /// Listening sockets known to engines.
  static var listeners: Int { 4096 }
  /// Places in the cache of routes.
  static var routes: Int { 1024 }
}

/// Everything the shim knows in this process, except the descriptor table.
///
/// It lives in memory of its own that the first call of `fs_initialize` maps. The tables it points
/// to are mapped at their full size, and cost only what is touched.
struct Process {
  var sockets: UnsafeMutableRawPointer
  /// One for each socket.
  var optionNumbers: UnsafeMutablePointer<OptionNumbers>
  /// Sockets never used begin here.
  var socketWatermark: UInt32 = 0
  var firstFreeSocket: UInt32 = .max
  var channels: UnsafeMutablePointer<Channel>
  var listeners: UnsafeMutablePointer<Listener>
  /// Lock words: each on a cache line of its own.
  var locks: UnsafeMutableRawPointer
  var control = Control()
  var routes: UnsafeMutablePointer<Route>
  /// Descriptors of our own are numbered from here.
  var internalBase: Int32 = 896
  /// Descriptors of any kind but the kernel's have numbers up to this.
  var highestDescriptor: Int32 = -1
  /// A socket of each family that accepted descriptors are duplicates of; -1 until there is one.
  var placeholder4: Int32 = -1
  var placeholder6: Int32 = -1
  /// Counts up in every forked child.
  var generation: UInt32 = 1
  /// Forks at which there were connections. None that was opened before the last is certainly this
  /// process's alone.
  var forks: UInt32 = 0
  /// While the process forks: the child's connection to the daemon; -1 for none.
  var childControl: Int32 = -1
  /// ... and the locks that are not given back after it.
  var heldByForker = ForkersLocks()
  /// Whether there may be connections that a parent opened.
  var hasInherited = false
  /// Connections that were made the kernel's.
  var handedOver: UInt64 = 0
  /// How many descriptors each pool of a channel may hold.
  var poolLimit = 0
  /// What the kernel makes of buffer sizes and time-outs.
  var limits = KernelLimits()
}

/// The process-wide locks, in the order in which several may be taken.
enum ProcessLock: Int {
  /// The control connection, opening channels, registering listeners.
  case control
  /// The records of listeners.
  case listeners
  /// The sockets that accepted descriptors duplicate.
  case placeholders
  /// The slab of sockets.
  case sockets
  /// Not a lock: channels that exist have numbers below it.
  case channelWatermark
  /// Not a lock: listeners that exist have numbers below it.
  case listenerWatermark
  /// Not a lock: counts the values of SO_COOKIE that were given out.
  case cookies
}

/// Whether `fs_initialize` has been called.
@inline(__always)
var isInitialized: Bool { fs_process_memory_get() != nil }

/// The state of the process. Only after `isInitialized`, which whoever holds a descriptor of ours
/// may take for granted.
@inline(__always)
var process: UnsafeMutablePointer<Process> {
  fs_process_memory_get().unsafelyUnwrapped.assumingMemoryBound(to: Process.self)
}

/// The word of a process-wide lock, or of another word that lives beside them.
@inline(__always)
func processWord(_ lock: ProcessLock) -> SharedWord {
  (process.pointee.locks + lock.rawValue * 64).assumingMemoryBound(to: Atomic<UInt32>.self)
}

/// Maps the tables. False when there is no memory: then nothing is ever accelerated.
func initializeProcess() -> Bool {
  guard !isInitialized else { return true }
  let socketBytes = UInt(Limits.sockets * SocketTable.stride)
  let numberBytes = UInt(Limits.sockets * MemoryLayout<OptionNumbers>.stride)
  let channelBytes = UInt(Limits.channels * MemoryLayout<Channel>.stride)
  let listenerBytes = UInt(Limits.listeners * MemoryLayout<Listener>.stride)
  let routeBytes = UInt(Limits.routes * MemoryLayout<Route>.stride)
  guard let memory = fs_sys_map_private(4096 + UInt(MemoryLayout<Process>.stride)),
    let sockets = fs_sys_map_private(socketBytes),
    let optionNumbers = fs_sys_map_private(numberBytes),
    let channels = fs_sys_map_private(channelBytes),
    let listeners = fs_sys_map_private(listenerBytes),
    let routes = fs_sys_map_private(routeBytes)
  else { return false }
  let state = (memory + 4096).bindMemory(to: Process.self, capacity: 1)
  state.initialize(
    to: Process(
      sockets: sockets,
      optionNumbers: optionNumbers.bindMemory(to: OptionNumbers.self, capacity: Limits.sockets),
      channels: channels.bindMemory(to: Channel.self, capacity: Limits.channels),
      listeners: listeners.bindMemory(to: Listener.self, capacity: Limits.listeners),
      locks: memory,
      routes: routes.bindMemory(to: Route.self, capacity: Limits.routes)))
  state.pointee.internalBase = internalBase()
  fs_process_memory_set(state)
  return true
}

/// Where our own descriptors go: above what programs with few descriptors use, so that theirs keep
/// low numbers, but not so high that the kernel's table becomes large.
private func internalBase() -> Int32 {
  let limit = fs_sys_descriptor_limit()
  if limit >= 8192 { return 3840 }
  return Int32(limit > 256 ? limit - 128 : limit / 2)
}
