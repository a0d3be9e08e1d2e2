import Foundation
import Glibc

/// What stopped a test from being set up.
struct SetUpFailure: Error {
  var message: String
}

/// Runs a program and returns what it wrote.
@discardableResult
func run(_ command: String) throws -> String {
  let words = command.split(separator: " ").map(String.init)
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = words
  let pipe = Pipe()
  process.standardOutput = pipe
  process.standardError = pipe
  try process.run()
  let output = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  process.waitUntilExit()
  guard process.terminationStatus == 0 else {
    throw SetUpFailure(message: "\(command): \(output)")
  }
  return output
}

/// A result on its way from one thread to another, which is joined before it is read.
private final class Box<Value>: @unchecked Sendable {
  var body: (() throws -> Value)?
  var result: Result<Value, any Error>?
}

/// A network namespace of a test. Sockets made inside stay inside, whoever uses them.
struct Namespace {
  var name: String

  /// Runs `body` on a thread of its own in the namespace, and waits for it.
  func callAsFunction<Value>(_ body: () throws -> Value) throws -> Value {
    try withoutActuallyEscaping(body) { body in
      let box = Box<Value>()
      let path = "/run/netns/\(name)"
      box.body = {
        try Namespace.enter(path)
        return try body()
      }
      var thread = pthread_t()
      let argument = Unmanaged.passRetained(box as AnyObject)
      let runner: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { raw in
        guard let raw else { return nil }
        let box = Unmanaged<AnyObject>.fromOpaque(raw).takeRetainedValue()
        (box as? any Runnable)?.run()
        return nil
      }
      guard pthread_create(&thread, nil, runner, argument.toOpaque()) == 0 else {
        argument.release()
        throw SetUpFailure(message: "cannot make a thread")
      }
      pthread_join(thread, nil)
      guard let result = box.result else { throw SetUpFailure(message: "no result") }
      return try result.get()
    }
  }

  /// Moves the calling thread. setns() is not in Glibc's module, which is made without GNU names.
  private static func enter(_ path: String) throws {
    typealias SetNamespace = @convention(c) (Int32, Int32) -> Int32
    guard let symbol = dlsym(nil, "setns") else { throw SetUpFailure(message: "no setns") }
    let setns = unsafeBitCast(symbol, to: SetNamespace.self)
    let file = open(path, O_RDONLY | O_CLOEXEC)
    defer { close(file) }
    guard file >= 0, setns(file, 0x4000_0000) == 0 else {
      throw SetUpFailure(message: "cannot enter \(path)")
    }
  }
}

private protocol Runnable {
  func run()
}

extension Box: Runnable {
  func run() {
    guard let body else { return }
    result = Result { try body() }
    self.body = nil
  }
}

/// Polls until `condition` holds; false after `seconds`.
func eventually(within seconds: Double = 5, _ condition: () throws -> Bool) rethrows -> Bool {
  let end = Date().addingTimeInterval(seconds)
  while Date() < end {
    if try condition() { return true }
    usleep(2000)
  }
  return try condition()
}
