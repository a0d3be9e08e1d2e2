import Testing

@testable import fsd

/// What an engine's thread is to its mailbox.
private struct Owner: ~Copyable {
  var log: [Int] = []
}

extension Serially {
  @Suite struct MailboxTests {
    @Test func tasksRunInOrderOnTheOwner() throws {
      let mailbox = Mailbox<Owner>(doorbell: try EngineDoorbell())
      #expect(!mailbox.hasTasks)
      for number in 0..<3 { mailbox.post { $0.log.append(number) } }
      #expect(mailbox.hasTasks)
      var owner = Owner()
      for task in mailbox.take() { task(&owner) }
      #expect(owner.log == [0, 1, 2])
      #expect(!mailbox.hasTasks)
      #expect(mailbox.take().isEmpty)
    }

    @Test func onlyASleeperIsRung() throws {
      let doorbell = try EngineDoorbell()
      let mailbox = Mailbox<Owner>(doorbell: doorbell)
      mailbox.post { _ in }
      #expect(!doorbell.event.drain(), "it is awake and looks by itself")
      doorbell.announceSleep()
      mailbox.post { _ in }
      mailbox.post { _ in }
      #expect(doorbell.event.drain())
      #expect(!doorbell.ringIfAsleep(), "once per sleep")
      doorbell.announceSleep()
      doorbell.endSleep()
      #expect(!doorbell.ringIfAsleep())
    }

    @Test func replyComesFromAnotherThread() throws {
      let reply = Reply<Int>()
      let thread = try PinnedThread(name: "replier", processor: 0) { reply.deliver(42) }
      #expect(reply.wait(milliseconds: 10000) == 42)
      thread.join()
      #expect(Reply<Int>().wait(milliseconds: 0) == nil)
    }
  }
}
