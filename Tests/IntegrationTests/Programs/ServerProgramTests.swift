import Foundation
import Laboratory
import Testing

extension Integration {
  /// Servers of other protocols than HTTP.
  @Suite(.network()) struct ServerPrograms {
    /// Stores and reads values of all sizes over several connections at once; threads serve them.
    @Test(arguments: Place.tested) func memcached(_ place: Place) throws {
      let network = try Network.running()
      try network.meeting(place) {
        let server = try network.server.startServer(
          "memcached", ["memcached", "-u", "nobody", "-p", "11211", "-l", "0.0.0.0", "-t", "4"],
          port: 11211, preloaded: true)
        defer { server.stop() }
        try server.waitForAcceleration(sockets: 1)
        let script = try network.laboratory.makeFile("memcached.py", memcachedClient)
        try network.expectAcceleration(ofBytes: 2 * 20 * 100_000) {
          let output = try network.partner(at: place).run(
            ["python3", script, network.serverAddress(at: place), "11211"],
            preloaded: place.isPartnerPreloaded, seconds: 60)
          #expect(output == "20 connections, 2000 values\n")
        }
      }
    }

    @Test(
      .enabled(if: Tier.isEverything, "make test-all"), arguments: Place.allCases,
      [[], ["-R"], ["-P", "4"], ["--bidir"]])
    func iperf(_ place: Place, _ options: [String]) throws {
      let network = try Network.running()
      try network.meeting(place) {
        let server = try network.server.startServer(
          "iperf3", ["iperf3", "-s", "-p", "80"], port: 80, preloaded: true)
        defer { server.stop() }
        // The client counts what it has written, and its streams end with bytes unsent.
        let streams = options.contains("-P") ? 4 : 1
        try network.expectAcceleration(ofBytes: 20_000_000 - streams * 2_500_000) {
          try network.partner(at: place).run(
            ["iperf3", "-p", "80", "-c", network.serverAddress(at: place), "-n", "20M"] + options,
            preloaded: place.isPartnerPreloaded)
        }
      }
    }

    @Test(.enabled(if: Tier.isEverything, "make test-all"), arguments: Place.allCases)
    func openssl(_ place: Place) throws {
      let network = try Network.running()
      try network.meeting(place) {
        let (key, certificate) = try network.makeCertificate()
        let server = try network.server.startServer(
          "openssl s_server",
          [
            "sh", "-c",
            "cd \(network.content.directory) && exec openssl s_server -accept 443 -WWW -quiet "
              + "-key \(key) -cert \(certificate)",
          ], port: 443, preloaded: true)
        defer { server.stop() }
        let item = network.content.items[3]
        let path = "\(network.laboratory.directory)/by-tls"
        try network.expectAcceleration(ofBytes: item.size) {
          try network.partner(at: place).run(
            [
              "curl", "-ksS", "--fail", "--max-time", "20", "-o", path,
              "https://\(network.serverAddress(at: place))/\(item.name)",
            ], preloaded: place.isPartnerPreloaded)
        }
        #expect(try network.laboratory.hashes(of: [path]) == [item.hash])
      }
    }

    /// A process of its own serves each connection: it becomes the kernel's when the child uses it.
    @Test(.enabled(if: Tier.isEverything, "make test-all"), arguments: Place.allCases)
    func postgresql(_ place: Place) throws {
      let network = try Network.running()
      let versions = try FileManager.default.contentsOfDirectory(atPath: "/usr/lib/postgresql")
      let programs = try "/usr/lib/postgresql/\(#require(versions.sorted().last))/bin"
      try network.meeting(place) {
        let data = try network.laboratory.makeDirectory("postgresql-\(place)") + "/data"
        let asUser = [
          "setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--",
        ]
        try network.server.run(
          asUser + ["\(programs)/initdb", "-D", data, "-A", "trust", "-N"], seconds: 60)
        try "host all all all trust\n".write(
          toFile: "\(data)/pg_hba.conf", atomically: true, encoding: .utf8)
        let server = try network.server.startServer(
          "postgres",
          asUser + ["\(programs)/postgres", "-D", data, "-h", "0.0.0.0", "-k", data],
          port: 5432, preloaded: true)
        defer { server.stop() }
        try server.waitForAcceleration(sockets: 1)
        let (client, preloaded) = (network.partner(at: place), place.isPartnerPreloaded)
        let bench = ["pgbench", "-h", network.serverAddress(at: place), "-U", "postgres"]
        try client.run(bench + ["-i", "-q", "postgres"], preloaded: preloaded, seconds: 60)
        let opens = try network.server.daemon?.statistics().sum("passive_opens") ?? 0
        // Once with lasting connections, once with a new one for each transaction.
        for options in [[], ["-C"]] {
          let report = try client.run(
            bench + ["-c", "8", "-t", "50"] + options + ["postgres"], preloaded: preloaded,
            seconds: 60)
          #expect(report.contains("transactions actually processed: 400/400"), "\(report)")
        }
        if let daemon = network.server.daemon {
          #expect(try daemon.statistics().sum("passive_opens") - opens >= 400)
        }
      }
    }

    /// An echo over java.nio, if there is a JDK.
    @Test(
      .enabled(if: Tier.isEverything && FileManager.default.fileExists(atPath: "/usr/bin/javac")),
      arguments: Place.allCases)
    func java(_ place: Place) throws {
      let network = try Network.running()
      try network.meeting(place) {
        let source = try network.laboratory.makeFile("Echo.java", javaEcho)
        try network.server.run(
          ["javac", "-d", network.laboratory.directory, source], seconds: 60)
        let server = try network.server.startServer(
          "java", ["java", "-Xmx64m", "-cp", network.laboratory.directory, "Echo"], port: 80,
          preloaded: true)
        defer { server.stop() }
        let item = network.content.items[3]
        let script = try network.laboratory.makeFile("echo.py", echoClient)
        try network.expectAcceleration(ofBytes: 2 * 50 * item.size) {
          let output = try network.partner(at: place).run(
            [
              "python3", script, network.serverAddress(at: place), "80",
              network.content.path(item),
            ], preloaded: place.isPartnerPreloaded, seconds: 60)
          #expect(output == "50 equal\n")
        }
      }
    }
  }
}

private let memcachedClient = """
  import socket, sys, threading
  failed = []
  def serve(number):
      connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
      stream = connection.makefile("rwb")
      for step in range(100):
          value = bytes([number]) * (step * 20 + 10)
          key = b"%d-%d" % (number, step)
          stream.write(b"set %s 0 0 %d\\r\\n%s\\r\\n" % (key, len(value), value))
          stream.write(b"get %s\\r\\n" % key)
          stream.flush()
          answer = b"STORED\\r\\nVALUE %s 0 %d\\r\\n%s\\r\\nEND\\r\\n" % (key, len(value), value)
          if stream.read(len(answer)) != answer:
              failed.append(key)
  threads = [threading.Thread(target=serve, args=(number,)) for number in range(20)]
  for thread in threads: thread.start()
  for thread in threads: thread.join(30)
  assert not failed and not any(thread.is_alive() for thread in threads)
  print("20 connections, 2000 values")

  """

private let echoClient = """
  import socket, sys, threading
  content = open(sys.argv[3], "rb").read()
  equal = []
  def echo():
      connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
      sender = threading.Thread(target=lambda: (connection.sendall(content), connection.shutdown(1)))
      sender.start()
      received = b""
      while block := connection.recv(65536):
          received += block
      sender.join()
      if received == content:
          equal.append(1)
  threads = [threading.Thread(target=echo) for _ in range(50)]
  for thread in threads: thread.start()
  for thread in threads: thread.join(30)
  print(len(equal), "equal")

  """

private let javaEcho = """
  import java.net.InetSocketAddress;
  import java.nio.ByteBuffer;
  import java.nio.channels.*;
  import java.util.*;

  public class Echo {
    public static void main(String[] arguments) throws Exception {
      Selector selector = Selector.open();
      ServerSocketChannel server = ServerSocketChannel.open();
      server.bind(new InetSocketAddress(80), 128);
      server.configureBlocking(false);
      server.register(selector, SelectionKey.OP_ACCEPT);
      while (true) {
        selector.select();
        Iterator<SelectionKey> keys = selector.selectedKeys().iterator();
        while (keys.hasNext()) {
          SelectionKey key = keys.next();
          keys.remove();
          if (key.isAcceptable()) {
            SocketChannel accepted = server.accept();
            if (accepted == null) continue;
            accepted.configureBlocking(false);
            accepted.register(selector, SelectionKey.OP_READ, ByteBuffer.allocateDirect(65536));
          } else {
            echo(key);
          }
        }
      }
    }

    static void echo(SelectionKey key) throws Exception {
      SocketChannel channel = (SocketChannel) key.channel();
      ByteBuffer buffer = (ByteBuffer) key.attachment();
      boolean isOver = key.isReadable() && channel.read(buffer) < 0;
      buffer.flip();
      channel.write(buffer);
      buffer.compact();
      if (isOver && buffer.position() == 0) {
        channel.close();
        return;
      }
      int wanted = buffer.position() > 0 ? SelectionKey.OP_WRITE : 0;
      if (buffer.hasRemaining() && !isOver) wanted |= SelectionKey.OP_READ;
      key.interestOps(wanted);
    }
  }

  """
