import CLinux
import Glibc
import Testing

@testable import fsd

extension Serially {
  @Suite struct PinnedThreadTests {
    @Test func interruptionEndsABlockedWrite() throws {
      PinnedThread.prepareInterruption()
      let event = try EventDescriptor()
      // What a hostile application can do with the eventfd that it shares with the daemon.
      let number = event.descriptor.number
      #expect(fcntl(number, F_SETFL, 0) == 0)
      var full: UInt64 = .max - 1
      #expect(unsafe write(number, &full, 8) == 8)
      let reply = Reply<Bool>()
      let thread = try PinnedThread(name: "writer", processor: 0) {
        reply.deliver(EventDescriptor.ring(number))
      }
      #expect(reply.wait(milliseconds: 200) == nil, "it blocks")
      thread.interrupt()
      #expect(reply.wait(milliseconds: 10000) == false)
      thread.join()
    }

    /// It runs as soon as it is woken, whoever computes on its processor (Linux 6.12 and later).
    @Test func itsTimeSliceIsShort() throws {
      let reply = Reply<UInt64>()
      let thread = try PinnedThread(name: "slice", processor: 0) {
        reply.deliver(fs_time_slice())
      }
      let slice = reply.wait(milliseconds: 10000)
      thread.join()
      #expect(slice == 100_000 || slice == 0, "in nanoseconds; earlier kernels report none")
      #expect(fs_time_slice() != 100_000, "the threads of others keep theirs")
    }
  }
}
