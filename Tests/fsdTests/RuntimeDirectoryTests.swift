import FSRing
import Glibc
import Testing

@testable import fsd

extension Serially {
  @Suite struct RuntimeDirectoryTests {
    @Test func lockIsForOneDaemonAndGoesWithIt() throws {
      let directory = try TemporaryDirectory()
      let paths = try RuntimePaths(option: directory.path)
      #expect(RuntimeDirectory.runningDaemon(paths) == nil)
      do {
        let lock = try RuntimeDirectory.lock(paths)
        #expect(RuntimeDirectory.runningDaemon(paths) == getpid())
        let failure = #expect(throws: Failure.self) { try RuntimeDirectory.lock(paths) }
        #expect(
          failure?.description
            == "a daemon is already running in \(directory.path) (process \(getpid())); "
            + "stop it with 'fsd stop', or choose another --runtime-dir")
        withExtendedLifetime(lock) {}
      }
      #expect(RuntimeDirectory.runningDaemon(paths) == nil, "the file alone means nothing")
      _ = try RuntimeDirectory.lock(paths)
    }

    @Test func socketOfACrashedDaemonIsReplaced() throws {
      let directory = try TemporaryDirectory()
      let path = directory.path + "/fsd.sock"
      do { _ = try ControlSocket.listen(at: path) }
      #expect(throws: SystemError.self) { try ControlSocket.connect(to: path) }
      let before = openDescriptors()
      do {
        let listener = try ControlSocket.listen(at: path)
        _ = try ControlSocket.connect(to: path)
        var status = stat()
        #expect(unsafe stat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o666, "applications of all users may connect")
        withExtendedLifetime(listener) {}
      }
      #expect(openDescriptors() == before)
    }

    @Test func absentDaemonIsExplained() throws {
      let directory = try TemporaryDirectory()
      let paths = try RuntimePaths(option: directory.path)
      let words = "no daemon is running in \(directory.path); start one with 'fsd start'"
      #expect(throws: Failure(words)) { try ControlClient(paths) }
      do { _ = try ControlSocket.listen(at: paths.socket) }
      #expect(throws: Failure(words)) { try ControlClient(paths) }
    }

    @Test func directoryIsMadeForEveryone() throws {
      let directory = try TemporaryDirectory()
      let path = directory.path + "/run"
      let mask = umask(0o077)
      defer { umask(mask) }
      #expect(try RuntimeDirectory.make(path))
      var status = stat()
      #expect(unsafe stat(path, &status) == 0)
      #expect(status.st_mode & 0o777 == 0o755)
      #expect(try !RuntimeDirectory.make(path))
      rmdir(path)
      #expect(
        throws: Failure(
          "cannot make the runtime directory /nowhere/run: No such file or directory")
      ) { try RuntimeDirectory.make("/nowhere/run") }
    }

    /// Root believes nothing that others can have put there.
    @Test func directoryOfOthersIsRefused() throws {
      let directory = try TemporaryDirectory()
      let path = directory.path + "/run"
      let words =
        "the runtime directory \(path) must be root's or one's own, and writable by nobody else"
      #expect(try RuntimeDirectory.make(path))
      for mode: mode_t in [0o775, 0o777, 0o1777] {
        chmod(path, mode)
        #expect(throws: Failure(words)) { try RuntimeDirectory.make(path) }
      }
      chmod(path, 0o755)
      #expect(try !RuntimeDirectory.make(path))
      try #require(chown(path, 65534, 65534) == 0)
      #expect(throws: Failure(words)) { try RuntimeDirectory.make(path) }
      rmdir(path)
      for target in ["/run", "/nowhere"] {
        try #require(symlink(target, path) == 0)
        #expect(throws: Failure("the runtime directory \(path) is no directory")) {
          try RuntimeDirectory.make(path)
        }
        unlink(path)
      }
    }

    @Test func pathsAreAbsoluteAndShortEnough() throws {
      #expect(try RuntimePaths(option: "/tmp/x//").directory == "/tmp/x")
      #expect(try RuntimePaths(option: "x").directory.hasPrefix("/"))
      #expect(try RuntimePaths(option: "/a").socket == "/a/fsd.sock")
      #expect(throws: Failure.self) {
        try RuntimePaths(option: "/" + String(repeating: "a", count: 100))
      }
    }

    @Test func readinessPassesThroughThePipe() throws {
      func outcome(_ send: (ReadinessReport) -> Void) throws -> ReadinessReport.Outcome {
        var ends: [Int32] = [-1, -1]
        #expect(unsafe pipe(&ends) == 0)
        let reading = Descriptor(adopting: ends[0])
        send(ReadinessReport(descriptor: ends[1]))
        return ReadinessReport.read(from: reading.number)
      }
      #expect(try outcome { $0.ready(["one", "two"]) } == .ready("one\ntwo"))
      #expect(try outcome { $0.failed("why") } == .failed("why"))
      #expect(try outcome { close($0.descriptor ?? -1) } == .silence)
    }
  }
}
