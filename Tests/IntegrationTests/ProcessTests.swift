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
