import CLinux
import FSRing
import Glibc
import Synchronization

/// The memory of one channel and the two eventfds beside it, as the daemon holds them.
@safe
final class Channel: Sendable {
  /// Sizes of the parts. The daemon never reads them from the memory.
  let geometry: ChannelGeometry
  /// Written by the engine when a thread of the application sleeps.
  let applicationWake: EventDescriptor
  /// Written by the application when the engine sleeps.
  let doorbell: EventDescriptor
  /// The mapping of `geometry.byteCount` bytes.
  nonisolated(unsafe) let memory: UnsafeMutableRawPointer

  /// No one may resize the memory, or take these seals away: an access behind a shortened end
  /// would kill the daemon.
  static let seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL

  private init(
    geometry: ChannelGeometry, memory: UnsafeMutableRawPointer, applicationWake: EventDescriptor,
    doorbell: EventDescriptor
  ) {
    self.geometry = geometry
    unsafe self.memory = unsafe memory
    self.applicationWake = applicationWake
    self.doorbell = doorbell
  }

  deinit {
    unsafe munmap(memory, geometry.byteCount)
  }

  /// Makes the memory and the eventfds. The memfd is returned apart: it goes to the application,
  /// and the daemon needs only the mapping.
  static func make(
    _ geometry: ChannelGeometry
  ) throws(SystemError) -> (channel: Channel, memoryDescriptor: Descriptor) {
    precondition(geometry.isValid)
    let number = unsafe memfd_create(
      "fastsocket-channel", UInt32(MFD_CLOEXEC) | UInt32(MFD_ALLOW_SEALING))
    guard number >= 0 else { throw SystemError("memfd_create") }
    let descriptor = Descriptor(adopting: number)
    guard ftruncate(number, geometry.byteCount) == 0 else { throw SystemError("ftruncate") }
    guard fcntl(number, F_ADD_SEALS, seals) == 0 else {
      throw SystemError("fcntl(F_ADD_SEALS)")
    }
    let applicationWake = try EventDescriptor()
    let doorbell = try EventDescriptor()
    let mapping = unsafe mmap(
      nil, geometry.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, number, 0)
    guard let mapping = unsafe mapping, unsafe mapping != MAP_FAILED else {
      throw SystemError("mmap of a channel")
    }
    unsafe ChannelHeader(base: mapping).initialize()
    let channel = unsafe Channel(
      geometry: geometry, memory: mapping, applicationWake: applicationWake, doorbell: doorbell)
    return (channel, descriptor)
  }
}
