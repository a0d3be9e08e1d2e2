import Foundation
import Laboratory
import Testing

extension Integration {
  /// Readiness as the kernel has it: programs that compare, and that notice a lost wake-up.
  @Suite(.network()) struct Readiness {
    /// The same random operations on kernel connections and on accelerated ones, and every answer of
    /// epoll, poll, select, recv and send compared.
    @Test(arguments: [31, 32, 33, 41])
    func answersAsTheKernelDoes(_ seed: Int) throws {
      try compare(seed, steps: 800)
    }

    /// The same for 100,000 operations.
    @Test(.enabled(if: Tier.isEverything, "make test-all"), arguments: 101...125)
    func answersAsTheKernelDoesForLong(_ seed: Int) throws {
      try compare(seed, steps: 4000)
    }

    /// The program begins with five connections, and some steps, by chance one in fifty, make another.
    private func compare(_ seed: Int, steps: Int) throws {
      try runModel(
        "epoll-model", .ipv4, ["--seed", "\(seed)", "--steps", "\(steps)"],
        connections: 5 + steps / 100)
    }

    /// Scenes that random operations do not meet: a set in a set whose events are taken one at a time, threads
    /// beside those that poll a set, a handler that forks in a wait.
    @Test func setsInScenes() throws { try runModel("nesting-model", connections: 4) }

    /// An echo server in every style of waiting; a connection that stands still ends it.
    @Test(arguments: ["shared", "sets", "edge", "handover", "poll", "select", "blocking"])
    func losesNoWakeUp(_ mode: String) throws {
      let network = try Network.running()
      let echo = try compile(
        "readiness-echo", into: try network.laboratory.makeDirectory("echo-\(mode)"))
      try network.expectNoLeak {
        for once in [[], ["--once"]] {
          try network.expectAcceptance {
            let output = try network.server.run(
              [
                echo, "--mode", mode, "--address", network.front.address4, "--netns",
                network.peer.name, "--connections", "16", "--seconds", "2",
              ] + once, preloaded: Network.hasDaemon)
            // "readiness-echo MODE: NUMBER messages"; with --once each has a connection of its own.
            let words = output.split(separator: " ")
            let messages = try #require(words.dropLast().last.flatMap { Int($0) }, "\(output)")
            #expect(messages >= 16, "\(output)")
            return once.isEmpty ? 16 : messages
          }
        }
      }
    }
  }
}
