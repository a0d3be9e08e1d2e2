import CShim
import Synchronization

/// From the library's constructor.
@c @implementation
public func fs_initialize() {
  guard !isInitialized, initializeProcess() else { return }
  fs_register_handlers()
  enterInheritedListeners()
}

/// The process ends in good order: its connections are closed, not reset.
@c @implementation
public func fs_finalize() {
  guard isInitialized else { return }
  let lock = processWord(.control)
  guard Lock.tryAcquire(lock) else { return }
  if process.pointee.control.descriptor >= 0, process.pointee.control.isIntroduced {
    for index in 0..<ChannelTable.count {
      let channel = ChannelTable.at(index)
      guard channel.isOpen, Lock.tryAcquire(channel.lockWord) else { continue }
      for record in 0..<ListenerTable.count where ListenerTable.at(record).pointee.isUsed {
        channel.withdraw(from: record)
      }
      _ = channel.waitUntilTaken()
      Lock.release(channel.lockWord)
    }
    var message = ControlConnection.message(.goodbye)
    _ = withUnsafeMutablePointer(to: &message) {
      fs_sys_send_descriptor(
        process.pointee.control.descriptor, $0, UInt(ControlMessage.size), -1,
        Int32(MSG_DONTWAIT))
    }
  }
  Lock.release(lock)
}

/// A thread ends.
@c @implementation
public func fs_thread_ends() {
  readinessThreadEnds()
  ChannelTable.threadEnds()
}

/// chroot(2) is about to hide the daemon's socket.
@c @implementation
public func fs_before_chroot() {
  guard isInitialized, ListenerTable.count > 0 else { return }
  let lock = processWord(.control)
  guard Lock.acquire(lock) else { return }
  _ = ControlConnection.connect()
  Lock.release(lock)
}
