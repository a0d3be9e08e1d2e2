import Foundation
import Laboratory
import Testing

/// A server that forks for each connection, as most of Python's do, and echoes in upper case.
private let forkingServer = """
  import socketserver, sys
  class Handler(socketserver.StreamRequestHandler):
      def handle(self):
          for line in self.rfile:
              self.wfile.write(line.upper())
  class Server(socketserver.ForkingMixIn, socketserver.TCPServer):
      allow_reuse_address = True
      request_queue_size = 128
      max_children = 100
  Server(("", int(sys.argv[1])), Handler).serve_forever()
  """

/// A server as inetd: the connection becomes the standard streams of another program.
private let executingServer = """
  import os, signal, socket, sys
  signal.signal(signal.SIGCHLD, signal.SIG_IGN)
  listener = socket.create_server(("", int(sys.argv[1])), backlog=128)
  while True:
      connection, _ = listener.accept()
      if os.fork() == 0:
          for number in (0, 1):
              os.dup2(connection.fileno(), number)
          if sys.argv[2] == "plain":
              os.environ.pop("LD_PRELOAD", None)
          os.execvp("tr", ["tr", "a-z", "A-Z"])
      connection.close()
  """

/// A server of several processes and threads, each of which is at work on one connection at a time: it echoes, until
/// it has echoed a q.
private let blockingServer = """
  import ctypes, os, select, signal, socket, sys, threading
  port, processes, threads, waiting = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
  listener = socket.create_server(("", port), backlog=128)
  listener.setblocking(waiting == "accept")
  poll = select.poll()
  poll.register(listener, select.POLLIN)
  def work():
      while True:
          try:
              if waiting == "poll": poll.poll()
              connection, _ = listener.accept()
          except BlockingIOError:
              continue
          connection.setblocking(True)
          with connection:
              while byte := connection.recv(1):
                  connection.sendall(byte)
                  if byte == b"q": break
  for _ in range(processes):
      if os.fork() == 0:
          ctypes.CDLL(None).prctl(1, signal.SIGKILL)
          for _ in range(threads - 1): threading.Thread(target=work).start()
          work()
  signal.pause()
  """

extension Integration {
  /// Connections and listeners that several processes have.
  @Suite(.network()) struct Processes {
    /// fork, exec, vfork, posix_spawn, SCM_RIGHTS: every byte and every end of a stream, against the
    /// kernel on the same interfaces.
    @Test(arguments: [AddressFamily.ipv4, .ipv6])
    func answersAsTheKernelDoes(_ family: AddressFamily) throws {
      try runModel("process-model", family, connections: 89)
    }

    /// Descriptors that are closed while threads block in them.
    @Test(arguments: [AddressFamily.ipv4, .ipv6])
    func closesAsTheKernelDoes(_ family: AddressFamily) throws {
      try runModel("closing-model", family, connections: 13)
    }

    /// The peers send, and close their side, while their connections change hands.
    @Test func forkingServerOfPython() throws {
      try exchangeLines(["python3", "-c", forkingServer, "7000"], port: 7000)
    }

    @Test(arguments: ["preloaded", "plain"]) func programsRunByAServer(_ kind: String) throws {
      try exchangeLines(["python3", "-c", executingServer, "7001", kind], port: 7001)
    }

    /// Who is at work on a connection gets no other while somebody else waits for one, and whoever is done first takes
    /// the next, as if all waited in one queue.
    @Test(arguments: [(7002, "accept", 3, 1), (7003, "poll", 3, 1), (7004, "accept", 2, 2)])
    func busyProcessesGetNoConnections(
      _ port: Int, _ waiting: String, _ processes: Int, _ threads: Int
    ) throws {
      let network = try Network.running()
      let server = try network.server.start(
        ["python3", "-c", blockingServer, "\(port)", "\(processes)", "\(threads)", waiting],
        preloaded: true)
      defer { network.laboratory.discard(server) }
      let isReady = try waitUntil(seconds: 10) {
        Network.hasDaemon
          ? try acceptors(network, port: port).count == processes
          : try network.server.listeningPorts().contains(port)
      }
      try #require(isReady, "\(server.errorOutput)")
      func connect() throws -> TCPStream {
        try network.peer.connect(to: network.front.address4, port: port)
      }
      func ask(_ stream: TCPStream, _ text: String) throws -> String {
        try stream.send(Array(text.utf8))
        return String(decoding: try stream.receive(), as: UTF8.self)
      }
      var busy: [TCPStream] = []
      func occupy() throws {
        busy.append(try connect())
        #expect(try ask(busy[busy.count - 1], "w") == "w")
      }
      for _ in 1..<processes * threads { try occupy() }
      for _ in 0..<5 {
        let short = try (0..<12).map { _ in try connect() }
        for stream in short { try stream.send([UInt8(ascii: "q")]) }
        for stream in short { #expect(try stream.receiveAll() == [UInt8(ascii: "q")]) }
      }
      try occupy()
      for victim in [1, 0] {
        let waiting = try connect()
        #expect(try ask(busy.remove(at: victim), "q") == "q")
        #expect(try ask(waiting, "q") == "q")
        try occupy()
      }
      for stream in busy { #expect(try ask(stream, "q") == "q") }
    }

    /// Each connection is answered by a process of its own; the engine accepts them all.
    private func exchangeLines(_ command: [String], port: Int) throws {
      let network = try Network.running()
      try network.expectNoLeak {
        let server = try network.server.start(command, preloaded: true)
        defer {
          server.terminate()
          network.laboratory.discard(server)
        }
        let listens = try waitUntil(seconds: 10) {
          try network.server.listeningPorts().contains(port)
        }
        try #require(listens, "\(server.errorOutput)")
        if let daemon = network.server.daemon {
          let accepts = try waitUntil(seconds: 5) {
            try daemon.listeners().contains { $0.port == port && !$0.acceptors.isEmpty }
          }
          #expect(accepts, "it takes connections from the engines")
        }
        let before = try network.server.kernelCounters()
        for round in 0..<20 {
          let streams = try network.peer.connect(
            to: network.front.address4, port: port, count: 5)
          for (number, stream) in streams.enumerated() {
            let text = "line \(round) \(number) " + String(repeating: "abc", count: 5_000)
            try stream.send(Array("\(text)\n".utf8))
            try stream.finish()
            let answer = try stream.receiveAll()
            #expect(answer == Array("\(text.uppercased())\n".utf8))
          }
        }
        let kernel = try network.server.kernelCounters().since(before)
        if network.server.daemon != nil { #expect(kernel["PassiveOpens"] == 0) }
      }
    }

    /// A child that saves holds every connection and touches none: they stay with the engine.
    @Test func redisSavesUnderLoad() throws {
      let network = try Network.running()
      try network.whileServing({ try $0.startRedis(preloaded: true) }) { server in
        let connection = ["redis-cli", "-h", network.front.address4, "-p", "\(server.port)"]
        let load = try network.peer.start([
          "redis-benchmark", "-h", network.front.address4, "-p", "\(server.port)", "-c", "50", "-n",
          "60000", "-r", "1000", "-t", "set,get", "--csv",
        ])
        let before = try network.server.kernelCounters()
        var saves = 0
        while load.isRunning {
          let answer = try network.peer.run(connection + ["BGSAVE"])
          if answer.contains("started") { saves += 1 }
          usleep(50_000)
        }
        let report = load.output
        network.laboratory.discard(load)
        #expect(saves > 1)
        #expect(report.contains("\"SET\"") && report.contains("\"GET\""), "\(report)")
        #expect(!report.contains("Error"), "\(report)")
        let kernel = try network.server.kernelCounters().since(before)
        if network.server.daemon != nil { #expect(kernel["PassiveOpens"] == 0) }
      }
    }
  }
}
