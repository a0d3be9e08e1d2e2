import Glibc

/// A thread that may leave the process's network namespace, and is gone afterwards.
enum NetworkThread {
  private final class Box<Value>: @unchecked Sendable {
    let body: () throws -> Value
    var result: Result<Value, any Error>?

    init(_ body: @escaping () throws -> Value) { self.body = body }
  }

  struct NotMade: Error {}

  /// Runs `body` on such a thread, before all others of the machine if that is allowed, and waits.
  static func run<Value>(_ body: () throws -> Value) throws -> Value {
    try withoutActuallyEscaping(body) { body in
      let box = Box(body)
      let work: () -> Void = {
        var priority = sched_param(sched_priority: 1)
        pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority)
        box.result = Result { try body() }
      }
      let argument = Unmanaged.passRetained(Box<Void>(work) as AnyObject)
      var thread = pthread_t()
      let created = pthread_create(
        &thread, nil,
        { raw in
          guard let raw else { return nil }
          let work = Unmanaged<AnyObject>.fromOpaque(raw).takeRetainedValue() as? Box<Void>
          try? work?.body()
          return nil
        }, argument.toOpaque())
      guard created == 0 else {
        argument.release()
        throw NotMade()
      }
      pthread_join(thread, nil)
      guard let result = box.result else { throw NotMade() }
      return try result.get()
    }
  }
}
